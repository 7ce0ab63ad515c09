// Stories: see story.h.
#include "story.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SAD        "{sad|worried|upset|unhappy}"
#define GLAD       "{happy|glad|delighted|full of joy}"
#define SAID_SADLY "{said|cried|sighed}"
#define ASKED_WHY                                                               \
    "\"{What is wrong|Why are you so sad|What is the matter|What happened}?\" " \
    "{asked [pal]|[pal] asked}."

static struct role make_animal(struct teller *t, int skills)
{
    struct role role = {0};
    do {
        role.animal = words_animal(t);
    } while (skills && !(role.animal->skills & skills));
    role.kind = role.animal->name;
    role.is_she =
        role.animal->name[0] == 'h' && role.animal->name[1] == 'e' && role.animal->name[2] == 'n'
            ? 1
            : teller_below(t, 2);
    if (teller_chance(t, 40))
        role.name = words_pet(t, role.is_she);
    return role;
}

static struct role make_child(struct teller *t)
{
    struct role role = {.is_she = teller_below(t, 2)};
    role.kind = role.is_she ? "girl" : "boy";
    role.name = role.is_she ? words_girl(t) : words_boy(t);
    return role;
}

static struct role make_grown_up(struct teller *t)
{
    static const char *kinds[] = {"baker",   "farmer",   "gardener",    "fisherman",  "shepherd",
                                  "miller",  "teacher",  "tailor",      "sailor",     "king",
                                  "queen",   "princess", "prince",      "wizard",     "pirate",
                                  "knight",  "robot",    "giant",       "fairy",      "witch",
                                  "painter", "doctor",   "grandmother", "grandfather"};
    static const char *women[] = {"queen", "princess", "teacher", "baker",
                                  "fairy", "witch",    "doctor",  "grandmother"};
    struct role role = {.kind = kinds[teller_below(t, COUNT(kinds))]};
    for (int i = 0; i < COUNT(women); i++)
        role.is_she |= strcmp(role.kind, women[i]) == 0;
    return role;
}

// Slots of one role, with a prefix: "" for the hero, "p" for the helper.
static void name_roles(struct teller *t, const struct role *role, const char *prefix,
                       const char *who, const char *adjective)
{
    char key[12];
    char value[TELLER_SLOT_BYTES];
    snprintf(key, sizeof key, "%she", prefix);
    teller_bind(t, key, role->is_she ? "she" : "he");
    snprintf(key, sizeof key, "%shim", prefix);
    teller_bind(t, key, role->is_she ? "her" : "him");
    snprintf(key, sizeof key, "%shis", prefix);
    teller_bind(t, key, role->is_she ? "her" : "his");
    if (role->name && role->animal)
        snprintf(value, sizeof value, "{%s|%s|the %s}", role->name, role->name, role->kind);
    else if (role->name)
        snprintf(value, sizeof value, "%s", role->name);
    else
        snprintf(value, sizeof value, "the %s", role->kind);
    teller_bind(t, who, value);
    snprintf(key, sizeof key, "a%s", who);
    snprintf(value, sizeof value, role->name ? "@ %s%s%s named %s" : "@ %s%s%s%s", adjective,
             adjective[0] ? " " : "", role->kind, role->name ? role->name : "");
    teller_bind(t, key, value);
    snprintf(key, sizeof key, "C%s", who);
    snprintf(value, sizeof value, "%s", role->name ? role->name : role->kind);
    value[0] = (char)toupper((unsigned char)value[0]);
    teller_bind(t, key, value);
    snprintf(key, sizeof key, "%sposs", who);
    snprintf(value, sizeof value, role->name ? "%s's" : "the %s's",
             role->name ? role->name : role->kind);
    teller_bind(t, key, value);
    snprintf(key, sizeof key, "akind%s", who);
    snprintf(value, sizeof value, "@ %s%s%s", adjective, adjective[0] ? " " : "", role->kind);
    teller_bind(t, key, value);
}

static const char *reach_words(const struct role *pal)
{
    int skills = pal->animal ? pal->animal->skills : 0;
    if (skills & FLY)
        return "{spread [phis] wings, flew up|flew up}";
    if (skills & CLIMB)
        return "{climbed up quickly|climbed up, branch by branch}";
    return "{stretched [phis] long neck|stood up tall and stretched}";
}

static void choose_roles(struct teller *t, struct story *s)
{
    s->hero = teller_chance(t, 60)   ? make_animal(t, 0)
              : teller_chance(t, 85) ? make_child(t)
                                     : make_grown_up(t);
    do {
        int skills = s->plot->helper_needs;
        s->pal = skills || teller_chance(t, 65) ? make_animal(t, skills)
                 : teller_chance(t, 50)         ? make_child(t)
                                                : make_grown_up(t);
    } while (!strcmp(s->pal.kind, s->hero.kind) ||
             (s->pal.name && s->hero.name && !strcmp(s->pal.name, s->hero.name)));
    // The river tale needs a hero who cannot just swim after the thing.
    if (!strcmp(s->plot->name, "river") && s->hero.animal && (s->hero.animal->skills & SWIM))
        choose_roles(t, s);
    else if (!strcmp(s->plot->name, "stuck") && s->hero.animal &&
             (s->hero.animal->skills & (FLY | CLIMB | TALL)))
        choose_roles(t, s);
}

static void choose_thing(struct teller *t, struct story *s)
{
    do {
        s->thing = words_thing(t);
    } while ((s->thing->traits & s->plot->thing_needs) != s->plot->thing_needs ||
             (s->thing->traits & s->plot->thing_avoids));
}

// Every place has three spots; they are told in any order.
static void bind_spots(struct teller *t, const struct place *place)
{
    int first = teller_below(t, 3);
    int step = 1 + teller_below(t, 2);
    teller_bind(t, "spot1", place->spots[first]);
    teller_bind(t, "spot2", place->spots[(first + step) % 3]);
    teller_bind(t, "spot3", place->spots[(first + 2 * step) % 3]);
}

void story_imagine(struct teller *t, struct story *s)
{
    const struct weather *weather = words_weather(t);
    s->plot = plots_any(t);
    choose_roles(t, s);
    choose_thing(t, s);
    s->place = words_place(t);
    s->trait = words_trait(t);
    t->slot_count = 0;
    name_roles(t, &s->hero, "", "hero", s->trait);
    name_roles(t, &s->pal, "p", "pal",
               teller_chance(t, 50)                    ? ""
               : s->pal.animal && teller_chance(t, 50) ? "little"
                                                       : words_trait(t));
    teller_bind(t, "trait", s->trait);
    teller_bind(t, "kind", s->hero.kind);
    teller_bind(t, "pkind", s->pal.kind);
    teller_bind(t, "hobby", words_hobby(t));
    teller_bind(t, "obj", s->thing->name);
    teller_fix(t, "adj", s->thing->looks);
    teller_bind(t, "aobj", "@ [adj] [obj]");
    teller_bind(t, "play", s->thing->play);
    teller_bind(t, "mend", s->thing->mend);
    teller_fix(t, "reach", reach_words(&s->pal));
    teller_bind(t, "place", s->place->noun);
    teller_fix(t, "where", s->place->where);
    teller_bind(t, "at", s->place->at);
    bind_spots(t, s->place);
    teller_bind(t, "br", teller_chance(t, 60) ? "\n\n" : " ");
    teller_bind(t, "wday", weather->day);
    teller_bind(t, "weather", weather->detail);
    teller_fix(t, "day", "{One|One} {[wday] |[wday] |}{morning|day|afternoon}");
    teller_bind(t, "said", SAID_SADLY);
    teller_bind(t, "sad", SAD);
    teller_bind(t, "happy", GLAD);
    teller_bind(t, "asked", ASKED_WHY);
    teller_bind(t, "owns",
                "{[He] had [aobj].|[He] had [aobj], and [he] loved to [play].|[His] favourite "
                "thing was [aobj].}");
    teller_bind(t, "glad",
                "{[He] was [happy].|[He] was [happy], and so was [pal].|They {hugged|laughed} "
                "and {played together until evening|walked home together}.|From that day on, "
                "[hero] and [pal] were {good|best} friends.}");
    teller_fix(t, "lesson", s->plot->lesson);
}

static void say_opening(struct teller *t)
{
    static const char *openings[] = {
        "Once upon a time, there was [ahero]. [He] lived [where].",
        "Once upon a time, [ahero] lived [where].",
        "Once upon a time there was [ahero] who lived [where].",
        "There was once [ahero] who lived [where].",
        "Long ago, [where], there lived [ahero].",
        "[Where], there lived [ahero].",
        "[Ahero] lived [where].",
    };
    teller_say(t, openings[teller_below(t, COUNT(openings))]);
    teller_say(t, " {[He] liked to [hobby]. |[Hero] loved to [hobby]. |}");
}

static void say_ending(struct teller *t)
{
    teller_say(
        t, "{||[br]And [hero] learned that [lesson].|[br][Hero] never forgot that [lesson].|[br]"
           "The lesson is that [lesson].}{||| The end.}");
}

static void tidy_spaces(struct teller *t, size_t start)
{
    size_t out = start;
    for (size_t i = start; i < t->length; i++) {
        char c = t->text[i];
        if (c == ' ' && out > start && (t->text[out - 1] == ' ' || t->text[out - 1] == '\n'))
            continue;
        if (c == '\n' && out > start && t->text[out - 1] == ' ')
            out--;
        t->text[out++] = c;
    }
    t->length = out;
}

void story_tell(struct teller *t, const struct story *s)
{
    size_t start = t->length;
    say_opening(t);
    teller_put(t, ' ');
    teller_say(t, s->plot->tale);
    say_ending(t);
    tidy_spaces(t, start);
    while (t->length > start && t->text[t->length - 1] == ' ')
        t->length--;
}
