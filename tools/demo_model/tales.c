// A seeded generator of short English stories and chats.
//
// The demo model is trained on text that this program makes up, so that nothing in it comes from
// anyone else. A tale is a plot (lost thing, torn thing, quarrel, storm, ...) told in the
// template language of teller.h. Every document ends with <|endoftext|>; about half are chats in
// ChatML form.
//
//     tales SEED DOCUMENTS > corpus.txt
//
// The same seed always gives the same text; different seeds give different text.
#include "dialogues.h"
#include "small_talk.h"
#include "story.h"
#include "story_chat.h"
#include "turns.h"

#include <stdio.h>
#include <stdlib.h>

static void say_system(struct teller *t)
{
    turns_say(
        t, "system",
        "{You are a helpful assistant.|You are a helpful assistant|You are Rondo.|You are Rondo, a "
        "friendly storyteller.|You are a friendly storyteller.|You are Rondo, a small and friendly "
        "language model.|You tell short stories for children.|Answer the user kindly.}");
}

static void chat(struct teller *t)
{
    if (teller_chance(t, 30))
        say_system(t);
    if (teller_chance(t, 50)) {
        if (teller_chance(t, 20))
            teller_chance(t, 60) ? small_talk_greeting(t) : small_talk_any(t);
        story_chat(t);
        // A few long chats teach the model every position of its context.
        if (teller_chance(t, 25) && t->length < STORY_CHAT_LIMIT * 2 / 3)
            story_chat(t);
    } else {
        small_talk(t);
    }
    if (teller_chance(t, 15))
        small_talk_thanks(t);
    if (teller_chance(t, 8))
        small_talk_bye(t);
}

static void plain_document(struct teller *t)
{
    struct story story;
    story_imagine(t, &story);
    if (teller_chance(t, 12))
        teller_say(t, dialogues_any(t));
    else
        story_tell(t, &story);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: tales SEED DOCUMENTS > corpus.txt\n");
        return 2;
    }
    static struct teller teller;
    teller.random = strtoull(argv[1], NULL, 10) * 0xD1342543DE82EF95u + 1;
    long documents = strtol(argv[2], NULL, 10);
    for (long i = 0; i < documents; i++) {
        teller.length = 0;
        if (teller_chance(&teller, 55))
            chat(&teller);
        else
            plain_document(&teller);
        fwrite(teller.text, 1, teller.length, stdout);
        fputs("<|endoftext|>\n", stdout);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
