// A chat about a story: see story_chat.h.
#include "story_chat.h"

#include "story.h"
#include "turns.h"

// Which of the story's ingredients the user names.
static const char *wish_for(struct teller *t)
{
    static const char *wishes[] = {
        "@ [kind] and @ [obj]",
        "@ [kind] and @ [obj]",
        "@ [kind] and @ [obj]",
        "@ [kind] who has @ [obj]",
        "@ [kind], @ [pkind] and @ [obj]",
        "@ [kind], @ [pkind] and @ [obj]",
        "@ [kind] and @ [pkind]",
        "@ [kind] and @ [pkind]",
        "@ [kind] with @ [obj] [at]",
        "@ [trait] [kind]",
        "@ [trait] [kind] and [aobj]",
        "[ahero]",
        "[ahero] and @ [obj]",
        "@ [kind] [at]",
        "@ [kind] that lives [where]",
        "@ [obj]",
        "[aobj]",
        "@ [kind]",
        "@ [pkind] who helps @ [kind]",
        "@ [kind] who learns that [lesson]",
    };
    return wishes[teller_below(t, COUNT(wishes))];
}

static void ask_for_any_story(struct teller *t)
{
    turns_say(t, "user",
              "{Tell me @ [tale].|Tell me @ [tale], please.|Please tell me @ [tale].|Can you tell "
              "me @ [tale]?|I would like to hear @ [tale].|Tell me another story.|Another story, "
              "please.|Do you know @ [tale]?}");
}

static void ask_for_story(struct teller *t)
{
    teller_bind(t, "wish", wish_for(t));
    teller_bind(t, "tale", "{short |little |nice |}{story|story|story|tale|bedtime story}");
    if (teller_chance(t, 8)) {
        ask_for_any_story(t);
        return;
    }
    turns_say(t, "user",
              "{{Please t|T}ell me @ [tale] about [wish].|Tell me @ [tale] about [wish].|Tell me @ "
              "[tale] with [wish].|{Can|Could} you tell me @ [tale] about [wish]?|{Can|Could} you "
              "write @ [tale] about [wish]?|Write @ [tale] about [wish].|{Please w|W}rite @ [tale] "
              "with [wish] in it.|I {want|would like} {to hear |}@ [tale] about [wish].|Make up @ "
              "[tale] about [wish]{.|, please.}|@ [tale] about [wish], please.|Do you know @ "
              "[tale] about [wish]?|I want a story with [wish].}");
}

static void answer_with_story(struct teller *t, const struct story *s)
{
    turns_open(t, "assistant");
    teller_say(
        t, "{|||||Here is a story about [wish].\n\n|Here is a story for you.\n\n|Of course!\n\n}");
    story_tell(t, s);
    turns_close(t);
}

static void question_about_story(struct teller *t, const struct story *s)
{
    switch (teller_below(t, 10)) {
    case 0:
        turns_exchange(t, "Where did [hero] live?", "{[Hero]|[He]} lived [where].");
        break;
    case 1:
        turns_exchange(
            t, "{What was the problem|What went wrong|What was the trouble}{| in the story}?",
            s->plot->trouble);
        break;
    case 2:
        turns_exchange(t,
                       "{How was it solved|How did it end|What happened in the end|How did they "
                       "solve the problem}?",
                       s->plot->rescue);
        break;
    case 3:
        turns_exchange(
            t,
            "{What is the lesson of the story|What did [hero] learn|What can we learn from it|What "
            "is the moral of the story}?",
            "{The lesson is that [lesson].|[Hero] learned that [lesson].|We learn that [lesson].}");
        break;
    case 4:
        turns_exchange(t, "What {did the [obj] look like|kind of [obj] was it}?", "It was [aobj].");
        break;
    case 5:
        turns_exchange(
            t, "{Who was the story about|Who is the story about|Who is the main character}?",
            "{The story {was|is} about|It {was|is} about} [ahero].");
        break;
    case 6:
        if (s->hero.name) {
            turns_exchange(t,
                           "{What was the [kind]'s name|What was the [kind] called|What was the "
                           "name of the [kind]}?",
                           "The {[kind]'s name was|[kind] was called} [Chero].");
        } else {
            turns_exchange(
                t, "{Did the [kind] have a name|What was the [kind]'s name}?",
                "{No, the story does not say|The story does not say} what the [kind] was called.");
        }
        break;
    case 7:
        turns_exchange(t, "{Who was [Cpal]|Tell me about [Cpal]|Who else was in the story}?",
                       "[Apal] was in the story.");
        break;
    case 8:
        turns_exchange(t, "{What was [hero] like|How would you describe [hero]}?",
                       "[Hero] was {very |}[trait]{.| and liked to [hobby].}");
        break;
    default:
        turns_exchange(t, "{Was the [pkind] kind|Was there @ [pkind] in the story}?",
                       "{Yes, the story has [apal].|Yes, there was [apal].}");
        break;
    }
}

void story_chat(struct teller *t)
{
    struct story story;
    size_t before = t->length;
    story_imagine(t, &story);
    ask_for_story(t);
    answer_with_story(t, &story);
    int questions = teller_chance(t, 55) ? 1 + teller_below(t, 3) : 0;
    while (questions-- > 0 && t->length - before < STORY_CHAT_LIMIT)
        question_about_story(t, &story);
}
