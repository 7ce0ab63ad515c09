// The corpus: see corpus.h. User and system turns are marked as quiet.
#include "corpus.h"

#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *corpus_read_file(const char *path, size_t *length)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "train: cannot read %s\n", path);
        exit(1);
    }
    size_t room = 1 << 20;
    char *text = memory_checked(malloc(room));
    *length = 0;
    for (size_t got; (got = fread(text + *length, 1, room - *length, file)) > 0;) {
        *length += got;
        if (*length == room) {
            room *= 2;
            text = memory_checked(realloc(text, room));
        }
    }
    fclose(file);
    return text;
}

size_t corpus_find_special(const char *text, size_t from, size_t length, int *special, size_t *mark)
{
    for (size_t i = from; i < length; i++) {
        *mark = bpe_special_at(text + i, length - i, special);
        if (*mark)
            return i;
    }
    *mark = 0;
    return length;
}

static int starts_with(const char *text, size_t length, const char *word)
{
    return length >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

struct corpus corpus_read(struct bpe *bpe, const char *path)
{
    size_t length;
    char *text = corpus_read_file(path, &length);
    struct corpus corpus = {memory_checked(malloc((length + 1) * sizeof(uint16_t))), NULL, 0};
    size_t room = 1 << 16;
    corpus.start = memory_checked(malloc(room * sizeof *corpus.start));
    corpus.start[0] = 0;
    size_t count = 0;
    int quiet = 0;
    for (size_t i = 0; i < length;) {
        int special = 0;
        size_t mark;
        size_t end = corpus_find_special(text, i, length, &special, &mark);
        size_t added = bpe_encode(bpe, text + i, end - i, corpus.tokens + count);
        for (size_t k = 0; k < added; k++)
            corpus.tokens[count + k] |= (uint16_t)quiet;
        count += added;
        i = end + mark;
        if (!mark)
            break;
        corpus.tokens[count++] = (uint16_t)((bpe->first_special + special) | quiet);
        quiet = special == SPECIAL_IM_START && !starts_with(text + i, length - i, "assistant")
                    ? CORPUS_QUIET
                    : 0;
        if (special == SPECIAL_END_OF_TEXT) {
            i += i < length && text[i] == '\n';
            if (corpus.documents + 2 > room) {
                room *= 2;
                corpus.start = memory_checked(realloc(corpus.start, room * sizeof *corpus.start));
            }
            corpus.start[++corpus.documents] = count;
        }
    }
    free(text);
    return corpus;
}

void corpus_free(struct corpus *corpus)
{
    free(corpus->tokens);
    free(corpus->start);
}
