// Simple knowledge: see facts.h.
#include "facts.h"

#include "turns.h"
#include "words.h"

#include <string.h>

struct pair {
    const char *left;
    const char *right;
};

static const struct pair opposites[] = {
    {"big", "small"},      {"hot", "cold"},       {"up", "down"},      {"day", "night"},
    {"happy", "sad"},      {"fast", "slow"},      {"old", "new"},      {"tall", "short"},
    {"open", "closed"},    {"full", "empty"},     {"hard", "soft"},    {"light", "dark"},
    {"wet", "dry"},        {"loud", "quiet"},     {"strong", "weak"},  {"early", "late"},
    {"high", "low"},       {"left", "right"},     {"near", "far"},     {"clean", "dirty"},
    {"good", "bad"},       {"rich", "poor"},      {"sweet", "sour"},   {"thick", "thin"},
    {"inside", "outside"}, {"first", "last"},     {"brave", "afraid"}, {"awake", "asleep"},
    {"begin", "end"},      {"yes", "no"},         {"push", "pull"},    {"summer", "winter"},
    {"black", "white"},    {"above", "below"},    {"heavy", "light"},  {"give", "take"},
    {"always", "never"},   {"same", "different"}, {"lost", "found"},   {"kind", "mean"}};

void facts_opposite(struct teller *t)
{
    const struct pair *pair = &opposites[teller_below(t, COUNT(opposites))];
    int swap = teller_chance(t, 40) && strcmp(pair->left, "heavy");
    teller_bind(t, "x", swap ? pair->right : pair->left);
    teller_bind(t, "y", swap ? pair->left : pair->right);
    turns_exchange(t,
                   "{What is the opposite of [x]|What is the opposite of [x]|Do you know the "
                   "opposite of [x]}?",
                   "{The opposite of [x] is [y].|It is [y].|The opposite of [x] is [y].}");
}

static const struct pair hues[] = {{"the sky on a clear day", "blue"},
                                   {"grass", "green"},
                                   {"a ripe banana", "yellow"},
                                   {"snow", "white"},
                                   {"the sun", "yellow"},
                                   {"a ripe tomato", "red"},
                                   {"a carrot", "orange"},
                                   {"coal", "black"},
                                   {"a leaf in spring", "green"},
                                   {"milk", "white"},
                                   {"a lemon", "yellow"},
                                   {"a frog", "green"},
                                   {"a strawberry", "red"},
                                   {"the sea", "blue"},
                                   {"chocolate", "brown"},
                                   {"a pumpkin", "orange"},
                                   {"a raven", "black"},
                                   {"a cherry", "red"},
                                   {"a flamingo", "pink"},
                                   {"an elephant", "grey"},
                                   {"a plum", "purple"},
                                   {"the sky", "blue"},
                                   {"a crow", "black"},
                                   {"a fox", "orange"},
                                   {"a pig", "pink"},
                                   {"a penguin", "black and white"}};

void facts_colour(struct teller *t)
{
    static const char *mixes[][3] = {{"red", "yellow", "orange"},
                                     {"blue", "yellow", "green"},
                                     {"red", "blue", "purple"},
                                     {"red", "white", "pink"},
                                     {"black", "white", "grey"}};
    if (teller_chance(t, 25)) {
        int pick = teller_below(t, COUNT(mixes));
        int swap = teller_below(t, 2);
        teller_bind(t, "x", mixes[pick][swap]);
        teller_bind(t, "y", mixes[pick][1 - swap]);
        teller_bind(t, "z", mixes[pick][2]);
        turns_exchange(
            t, "{What do you get when you mix [x] and [y]|What colour do [x] and [y] make}?",
            "[X] and [y] make [z].");
    } else if (teller_chance(t, 15)) {
        turns_exchange(
            t, "{Name some colours.|Tell me three colours.|What colours do you know?}",
            "{Red, blue and green|Red, yellow and blue|Green, orange and purple|Pink, white "
            "and yellow} are colours.");
    } else {
        const struct pair *pair = &hues[teller_below(t, COUNT(hues))];
        teller_bind(t, "x", pair->left);
        teller_bind(t, "y", pair->right);
        turns_exchange(t, "{What colour is [x]|Which colour is [x]|Tell me, what colour is [x]}?",
                       "{[X] is [y].|It is [y].|[X] is [y].}");
    }
}

static const char *days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                             "Friday", "Saturday", "Sunday"};
static const char *months[] = {"January",   "February", "March",    "April",
                               "May",       "June",     "July",     "August",
                               "September", "October",  "November", "December"};

void facts_calendar(struct teller *t)
{
    int use_days = teller_chance(t, 65);
    const char **names = use_days ? days : months;
    int count = use_days ? COUNT(days) : COUNT(months);
    int i = teller_below(t, count);
    int back = teller_chance(t, 40);
    teller_bind(t, "unit", use_days ? "day" : "month");
    teller_bind(t, "x", names[i]);
    teller_bind(t, "y", names[(i + (back ? count - 1 : 1)) % count]);
    teller_bind(t, "rel", back ? "before" : "after");
    if (teller_chance(t, 15)) {
        turns_exchange(
            t,
            use_days ? "{What are the days of the week?|Name the days of the week.|Say the "
                       "days of the week.}"
                     : "{What are the months of the year?|Name the months of the year.}",
            use_days ? "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday,"
                       " Saturday and Sunday."
                     : "The months are January, February, March, April, May, June, July, "
                       "August, September, October, November and December.");
    } else if (teller_chance(t, 10)) {
        turns_exchange(t,
                       use_days
                           ? "{How many days are there in a week|How many days does a week have}?"
                           : "{How many months are there in a year|How many months does a year "
                             "have}?",
                       use_days ? "{There are seven days in a week.|A week has seven days.}"
                                : "{There are twelve months in a year.|A year has twelve months.}");
    } else {
        turns_exchange(t,
                       "{What [unit] comes [rel] [x]|Which [unit] comes [rel] [x]|Which [unit] is "
                       "[rel] [x]|What comes [rel] [x]}?",
                       "{[Y] comes [rel] [x].|It is [y].|[Y] comes [rel] [x].}");
    }
}

void facts_animal(struct teller *t)
{
    const struct animal *animal = words_animal(t);
    teller_bind(t, "x", animal->name);
    switch (teller_below(t, 4)) {
    case 0:
        teller_bind(t, "y", animal->home);
        turns_exchange(t,
                       "{Where does @ [x] live|What is the home of @ [x]|Where do you find @ [x]}?",
                       "@ [x] lives [y].");
        break;
    case 1:
        teller_bind(t, "y", animal->baby);
        turns_exchange(t, "{What is a baby [x] called|What do you call a baby [x]}?",
                       "A baby [x] is called @ [y].");
        break;
    case 2:
        teller_bind(t, "y", animal->sound);
        turns_exchange(
            t, "{What sound does @ [x] make|What does @ [x] say|What noise does @ [x] make}?",
            "@ [x] [y].");
        break;
    default:
        if (teller_below(t, 2)) {
            teller_bind(t, "y",
                        animal->skills & FLY ? "Yes, @ [x] can fly." : "No, @ [x] cannot fly.");
            turns_exchange(t, "Can @ [x] fly?", "[y]");
        } else {
            teller_bind(t, "y",
                        animal->skills & CLIMB ? "Yes, @ [x] can climb very well."
                                               : "No, @ [x] is not a good climber.");
            turns_exchange(t, "Can @ [x] climb{| trees}?", "[y]");
        }
        break;
    }
}

void facts_compare(struct teller *t)
{
    static const char *sizes[] = {"an ant",  "a mouse",     "a cat",  "a dog",
                                  "a horse", "an elephant", "a whale"};
    int i = teller_below(t, COUNT(sizes));
    int j = (i + 1 + teller_below(t, COUNT(sizes) - 1)) % COUNT(sizes);
    int want_bigger = teller_below(t, 2);
    teller_bind(t, "x", sizes[i]);
    teller_bind(t, "y", sizes[j]);
    teller_bind(t, "word", want_bigger ? "bigger" : "smaller");
    teller_bind(t, "win", (i > j) == want_bigger ? "[x]" : "[y]");
    teller_bind(t, "lose", (i > j) == want_bigger ? "[y]" : "[x]");
    turns_exchange(t, "{Which is [word], [x] or [y]|What is [word], [x] or [y]}?",
                   "[Win] is [word] than [lose].");
}
