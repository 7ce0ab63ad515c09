// The teller: a seeded source of chance, slots with values, and the text told so far.
//
// Templates are the language that everything is written in: {a|b|c} picks one alternative, [key]
// inserts a slot such as the hero's name, [Key] inserts it with a capital letter, and @ becomes
// "a" or "an". A slot's value is a template itself. The same seed always gives the same text.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { TELLER_SLOTS = 64, TELLER_SLOT_BYTES = 400, TELLER_TEXT_BYTES = 16384 };

struct slot {
    char key[12];
    char value[TELLER_SLOT_BYTES];
};

struct teller {
    uint64_t random;
    struct slot slots[TELLER_SLOTS];
    int slot_count;
    char text[TELLER_TEXT_BYTES];
    size_t length;
};

int teller_below(struct teller *t, int limit); // in [0, limit)
int teller_chance(struct teller *t, int percent);
void teller_put(struct teller *t, char c);

// Sets a slot. The value is kept as a template, so each use may come out differently.
void teller_bind(struct teller *t, const char *key, const char *value);
// Expands a template now and keeps the result, so that each use comes out the same.
void teller_fix(struct teller *t, const char *key, const char *template);
// Expands a template at the end of the text: articles chosen, sentences with capitals.
void teller_say(struct teller *t, const char *template);
