// The words that stories and chats are made of: animals, things, places, names. Each function
// picks one at random.
#pragma once

#include "teller.h"

// What an animal can do, and what can happen to a thing.
enum { FLY = 1, CLIMB = 2, SWIM = 4, DIG = 8, TALL = 16, SMALL = 32 };
enum { LIGHT = 1, FLOATS = 2, BREAKS = 4, FOOD = 8, LOUD = 16 };

struct animal {
    const char *name;
    const char *home;
    const char *sound;
    const char *baby;
    int skills;
};

struct thing {
    const char *name;
    const char *looks; // template for its adjective
    const char *play;  // what one likes to do with it; "it" stands for the thing
    const char *mend;  // what mends it, for things that break
    int traits;
};

struct place {
    const char *noun;
    const char *where; // where somebody lives
    const char *at;    // where something happens
    const char *spots[3];
};

struct weather {
    const char *day;    // "one ... morning"
    const char *detail; // a sentence about it
};

const struct animal *words_animal(struct teller *t);
const struct thing *words_thing(struct teller *t);
const struct place *words_place(struct teller *t);
const struct weather *words_weather(struct teller *t);
const char *words_girl(struct teller *t);
const char *words_boy(struct teller *t);
const char *words_pet(struct teller *t, int is_she); // the name of an animal
const char *words_trait(struct teller *t);
const char *words_hobby(struct teller *t);
