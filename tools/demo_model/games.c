// Counting, sums and word games: see games.h.
#include "games.h"

#include "turns.h"
#include "words.h"

#include <stdio.h>
#include <string.h>

static const char *number_words[] = {
    "zero",     "one",     "two",     "three",     "four",     "five",     "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};

static void append_number(char *out, int value, int as_word)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%d", value);
    strcat(out, as_word ? number_words[value] : digits);
}

void games_count(struct teller *t)
{
    char question[200];
    char answer[400] = "";
    int words = teller_chance(t, 40);
    int from = teller_chance(t, 50) ? 1 : teller_below(t, 14);
    int to = from + 2 + teller_below(t, 19 - from);
    int down = teller_chance(t, 25);
    int start = down ? to : from;
    int end = down ? from : to;
    char a[16] = "";
    char b[16] = "";
    append_number(a, start, words);
    append_number(b, end, words);
    if (!down && from == 1 && teller_chance(t, 60)) {
        snprintf(question, sizeof question,
                 "{Count to %s.|Can you count to %s?|Please count to %s.}", b, b, b);
    } else {
        snprintf(question, sizeof question,
                 "{Count %sfrom %s to %s.|Can you count %sfrom %s to %s?}", down ? "down " : "", a,
                 b, down ? "down " : "", a, b);
    }
    for (int i = start;; i += down ? -1 : 1) {
        append_number(answer, i, words);
        strcat(answer, i == end ? "." : ", ");
        if (i == end)
            break;
    }
    turns_exchange(t, question, answer);
}

void games_sum(struct teller *t)
{
    char question[240];
    char answer[160];
    int words = teller_chance(t, 20);
    int minus = teller_chance(t, 30);
    int x = teller_below(t, 11);
    int y = teller_below(t, minus ? x + 1 : 11);
    int z = minus ? x - y : x + y;
    char a[16] = "";
    char b[16] = "";
    char c[16] = "";
    append_number(a, x, words);
    append_number(b, y, words);
    append_number(c, z, words);
    const char *word = minus ? "minus" : "plus";
    const char *sign = words ? word : minus ? "-" : "+";
    snprintf(question, sizeof question,
             "{What is %s %s %s?|What is %s %s %s?|How much is %s %s %s?|%s %s %s}", a, sign, b, a,
             word, b, a, word, b, a, sign, b);
    snprintf(answer, sizeof answer, "{%s %s %s is %s.|It is %s.|%s %s %s is %s.}", a, word, b, c, c,
             a, word, b, c);
    turns_exchange(t, question, answer);
}

static const char *any_word(struct teller *t)
{
    switch (teller_below(t, 6)) {
    case 0:
        return words_girl(t);
    case 1:
        return words_boy(t);
    case 2:
        return words_place(t)->noun;
    case 3:
        return words_thing(t)->name;
    case 4:
        return words_trait(t);
    default:
        return words_animal(t)->name;
    }
}

// Word games; they also teach the model to look back and copy, which stories need.
void games_repeat(struct teller *t)
{
    const char *words[8];
    int count = 3 + teller_below(t, 6);
    char list[TELLER_SLOT_BYTES] = "";
    for (int i = 0; i < count; i++) {
        words[i] = any_word(t);
        for (int j = 0; j < i; j++) {
            if (strcmp(words[i], words[j]) == 0) {
                words[i] = any_word(t);
                j = -1;
            }
        }
        strcat(list, i == 0 ? "" : i + 1 == count ? " and " : ", ");
        strcat(list, words[i]);
    }
    int pick = teller_below(t, count - 1);
    teller_bind(t, "list", list);
    teller_bind(t, "x", words[pick]);
    teller_bind(t, "y", words[pick + 1]);
    teller_bind(t, "first", words[0]);
    teller_bind(t, "last", words[count - 1]);
    switch (teller_below(t, 5)) {
    case 0:
        turns_exchange(t,
                       "Here are some words: [list]. {Which word comes after [x]|What comes after "
                       "[x]}?",
                       "After [x] comes [y].");
        break;
    case 1:
        turns_exchange(
            t,
            "Here are some words: [list]. {Which word comes before [y]|What comes before "
            "[y]}?",
            "Before [y] comes [x].");
        break;
    case 2:
        if (teller_below(t, 2)) {
            turns_exchange(t, "Here are some words: [list]. Which is the first?",
                           "The first is [first].");
        } else {
            turns_exchange(t, "Here are some words: [list]. Which is the last?",
                           "The last is [last].");
        }
        break;
    default:
        turns_exchange(t,
                       "{Repeat after me|Say|Please repeat|Repeat these words|Say these words}: "
                       "[list].",
                       "[list].");
        break;
    }
}
