// The best way to each place of a word: see unigram.c.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct place {         // between two bytes
    double score;      // of the best way to it, -INFINITY: there is none
    uint32_t from, to; // the places before and behind it on the best way
    int32_t id;        // of the token that leads here, -1: an unknown character
};

struct lattice {
    struct place *place;
    size_t capacity;
};

void lattice_fini(struct lattice *l);
