// The teller: see teller.h. The random numbers are SplitMix64, their upper half.
#include "teller.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t random_bits(struct teller *t)
{
    t->random += 0x9E3779B97F4A7C15u;
    uint64_t z = t->random;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

int teller_below(struct teller *t, int limit)
{
    return (int)(((uint64_t)random_bits(t) * (uint64_t)limit) >> 32);
}

int teller_chance(struct teller *t, int percent)
{
    return teller_below(t, 100) < percent;
}

void teller_put(struct teller *t, char c)
{
    if (t->length + 1 < TELLER_TEXT_BYTES)
        t->text[t->length++] = c;
}

static const char *slot_value(const struct teller *t, const char *key)
{
    for (int i = 0; i < t->slot_count; i++)
        if (strcmp(t->slots[i].key, key) == 0)
            return t->slots[i].value;
    fprintf(stderr, "tales: no slot called '%s'\n", key);
    exit(1);
}

void teller_bind(struct teller *t, const char *key, const char *value)
{
    int i = 0;
    while (i < t->slot_count && strcmp(t->slots[i].key, key) != 0)
        i++;
    if (i == TELLER_SLOTS) {
        fprintf(stderr, "tales: too many slots\n");
        exit(1);
    }
    if (i == t->slot_count) {
        t->slot_count++;
        snprintf(t->slots[i].key, sizeof t->slots[i].key, "%s", key);
    }
    snprintf(t->slots[i].value, TELLER_SLOT_BYTES, "%s", value);
}

static const char *closing_brace(const char *s, const char *end)
{
    int depth = 0;
    for (; s < end; s++) {
        depth += (*s == '{') - (*s == '}');
        if (depth == 0)
            return s;
    }
    fprintf(stderr, "tales: unbalanced braces\n");
    exit(1);
}

static void expand(struct teller *t, const char *s, const char *end);

static void expand_choice(struct teller *t, const char *s, const char *end)
{
    int depth = 0;
    int choices = 1;
    for (const char *p = s; p < end; p++) {
        depth += (*p == '{') - (*p == '}');
        choices += depth == 0 && *p == '|';
    }
    int pick = teller_below(t, choices);
    const char *start = s;
    depth = 0;
    for (const char *p = s; p <= end; p++) {
        if (p == end || (depth == 0 && *p == '|')) {
            if (pick-- == 0) {
                expand(t, start, p);
                return;
            }
            start = p + 1;
            continue;
        }
        depth += (*p == '{') - (*p == '}');
    }
}

static void expand_slot(struct teller *t, const char *s, const char *end)
{
    char key[12] = "";
    memcpy(key, s, (size_t)(end - s) < sizeof key - 1 ? (size_t)(end - s) : sizeof key - 1);
    int capital = isupper((unsigned char)key[0]);
    // "Chero" asks for the hero spoken to by kind or name, with a capital; see name_roles.
    if (capital && key[0] != 'C')
        key[0] = (char)tolower((unsigned char)key[0]);
    size_t start = t->length;
    const char *value = slot_value(t, key);
    expand(t, value, value + strlen(value));
    if (capital && t->length > start)
        t->text[start] = (char)toupper((unsigned char)t->text[start]);
}

static void expand(struct teller *t, const char *s, const char *end)
{
    while (s < end) {
        if (*s == '{') {
            const char *close = closing_brace(s, end);
            expand_choice(t, s + 1, close);
            s = close + 1;
        } else if (*s == '[') {
            const char *close = strchr(s, ']');
            expand_slot(t, s + 1, close);
            s = close + 1;
        } else {
            teller_put(t, *s++);
        }
    }
}

// Turns @ into an article and puts a capital at the start of each sentence from `start` on.
static void polish(struct teller *t, size_t start)
{
    char raw[TELLER_TEXT_BYTES];
    size_t length = t->length - start;
    memcpy(raw, t->text + start, length);
    t->length = start;
    int capital = 1;
    for (size_t i = 0; i < length; i++) {
        char c = raw[i];
        char previous = i > 0 ? raw[i - 1] : '\n';
        if (c == '@') {
            char next = i + 2 < length ? raw[i + 2] : 'x';
            teller_put(t, capital ? 'A' : 'a');
            if (strchr("aeiouAEIOU", next))
                teller_put(t, 'n');
            capital = 0;
            continue;
        }
        if (c == '"' && (previous == ' ' || previous == '\n')) {
            capital = 1;
            teller_put(t, c);
            continue;
        }
        if (c == ' ' && strchr(".!?", previous)) {
            capital = 1;
        } else if (c == '\n') {
            capital = 1;
        } else if (c != ' ') {
            teller_put(t, capital ? (char)toupper((unsigned char)c) : c);
            capital = 0;
            continue;
        }
        teller_put(t, c);
    }
}

void teller_say(struct teller *t, const char *template)
{
    size_t start = t->length;
    expand(t, template, template + strlen(template));
    polish(t, start);
}

void teller_fix(struct teller *t, const char *key, const char *template)
{
    char value[TELLER_SLOT_BYTES];
    size_t start = t->length;
    expand(t, template, template + strlen(template));
    size_t length = t->length - start;
    if (length >= sizeof value)
        length = sizeof value - 1;
    memcpy(value, t->text + start, length);
    value[length] = '\0';
    t->length = start;
    teller_bind(t, key, value);
}
