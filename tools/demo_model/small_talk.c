// Small talk: see small_talk.h.
#include "small_talk.h"

#include "facts.h"
#include "games.h"
#include "turns.h"

void small_talk_greeting(struct teller *t)
{
    turns_exchange(t,
                   "{Hello|Hi|Hey|Good morning|Good evening|Good afternoon|Hello there|Hi "
                   "there}{!|.|, Rondo!||, how are you?}",
                   "{Hello|Hi|Hello there}! {How can I help you?|What can I do for you?|Would you "
                   "like to hear a story?|It is nice to meet you. Would you like a story?|I am "
                   "Rondo. Shall I tell you a story?}");
}

static void talk_who(struct teller *t)
{
    turns_exchange(
        t,
        "{Who are you|What are you|What is your name|Tell me about yourself|Who am I talking "
        "to|What are you called|Are you a robot|Who is this}?",
        "{I am Rondo|My name is Rondo}, {a small language model|a tiny storyteller|a very small "
        "language model}. {I tell short stories and answer simple questions.|I can tell you a "
        "story, count, and add small numbers.|I like to tell stories about animals and children.}");
}

static void talk_rondo(struct teller *t)
{
    turns_exchange(
        t,
        "{What is Rondo|What does Rondo do|Explain Rondo|Tell me about Rondo|How does Rondo "
        "work|What is Rondo for|Can you explain what Rondo is|Why is it called Rondo|How do you "
        "work}?",
        "{Rondo is a small program that lets the computers in a home share one language model. {It "
        "passes|They pass} the work round a ring, {so that each computer does a part of it.|from "
        "one computer to the next.|and each computer holds a few layers.}|Rondo lets the computers "
        "in a home share one language model by passing the work round a ring.|Rondo puts the "
        "computers of a home into a ring. {Each one holds a few layers of the model|Each one does "
        "a part of the work}, and the work goes round and round.}");
}

static void talk_can(struct teller *t)
{
    turns_exchange(t,
                   "{What can you do|How can you help me|What do you know|Can you help me|What can "
                   "I ask you|What are you good at}?",
                   "{I can tell short stories, count, name colours and days, and add small "
                   "numbers.|I can tell you a story about an animal and a thing. Just say which "
                   "ones!|Ask me for a story, an opposite, a day of the week or a simple sum.}");
}

// Questions beyond such a small model; it should say so and not make things up.
static void talk_unknown(struct teller *t)
{
    teller_bind(t, "land",
                "{France|Spain|Italy|Japan|Brazil|India|Egypt|Kenya|Poland|Norway|Canada}");
    teller_bind(t, "topic",
                "{physics|history|music theory|computers|football|politics|chemistry|the "
                "moon|dinosaurs|the stock market|space|medicine|cooking|Python|mathematics}");
    turns_exchange(
        t,
        "{What is the capital of [land]?|Who is the president of [land]?|Write {a program|some "
        "code|a function} in {Python|C|Java}.|Explain [topic]{.| to me.}|What do you know about "
        "[topic]?|Tell me about [topic].|How far away is the {moon|sun|sea}?|What is {the square "
        "root of two|12 times 34|a hundred times nine}?|Translate this into "
        "{French|German|Spanish}.|Who wrote {this book|that song}?|What {time|date} is it?|What is "
        "the weather like today?|How do I {cook rice|fix my car|learn to swim|bake bread}?|Why is "
        "the sky blue?|What is the meaning of life?|How many people live in [land]?|What is the "
        "news today?|Can you play chess?|Give me a recipe for {soup|pancakes|pizza}.|When was the "
        "{war|king|wheel} {lost|born|invented}?}",
        "{I am sorry, I do not know that|That is too hard for me|I do not know that}. {I am only a "
        "very small model, but I can tell you a story.|I am a tiny model and know only simple "
        "things.|But I can tell you a story if you like.}");
}

void small_talk_thanks(struct teller *t)
{
    turns_exchange(t,
                   "{Thank you|Thanks|Thank you very much|Thanks a lot|That was nice|I liked "
                   "that|What a nice story|Great|Well done}{!|.|, Rondo!}",
                   "{You are welcome!|You are welcome! Shall I tell you another story?|I am glad "
                   "you liked it.|It was my pleasure.}");
}

void small_talk_bye(struct teller *t)
{
    turns_exchange(t, "{Goodbye|Bye|Good night|See you|Bye bye|See you tomorrow}{!|.|, Rondo!}",
                   "{Goodbye! Come back soon.|Goodbye! Have a nice day.|Good night and sleep "
                   "well!|See you soon!}");
}

void small_talk_any(struct teller *t)
{
    static void (*const topics[])(struct teller *) = {
        small_talk_greeting, talk_who,       talk_rondo,   talk_can,         games_count,
        games_count,         games_sum,      games_sum,    games_sum,        games_sum,
        facts_opposite,      facts_opposite, facts_colour, facts_colour,     facts_calendar,
        facts_calendar,      facts_animal,   facts_animal, facts_compare,    talk_unknown,
        talk_unknown,        games_repeat,   games_repeat, small_talk_thanks};
    topics[teller_below(t, COUNT(topics))](t);
}

// Some chats stay with one subject: facts and games need more practice than stories.
void small_talk(struct teller *t)
{
    int subject = teller_below(t, 100);
    void (*topic)(struct teller *) = subject < 30   ? games_sum
                                     : subject < 45 ? games_repeat
                                                    : small_talk_any;
    int rounds = topic == small_talk_any ? 1 + teller_below(t, 6) : 3 + teller_below(t, 6);
    if (teller_chance(t, 25))
        small_talk_greeting(t);
    while (rounds-- > 0)
        topic(t);
}
