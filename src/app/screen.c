// What a person sees: see screen.h.
#include "app/screen.h"

#include "app/output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 1024 };

void screen_init(struct screen *s)
{
    const char *kind = getenv("TERM"), *no_color = getenv("NO_COLOR");
    *s = (struct screen){.terminal = isatty(STDOUT_FILENO) == 1};
    s->dims = s->terminal && kind && *kind && strcmp(kind, "dumb") && (!no_color || !*no_color);
}

// U+0080 to U+009F: two bytes.
static bool is_c1(const char *text, size_t left)
{
    return (unsigned char)text[0] == 0xc2 && left > 1 && (unsigned char)text[1] < 0xa0;
}

static bool safe_text(const char *text, size_t size)
{
    char safe[STEP];
    bool heard = true;
    for (size_t i = 0, n = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = is_c1(text + i, size - i);
        safe[n++] = c1 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : text[i];
        i += c1;
        if (n == sizeof safe || i + 1 >= size) {
            heard = output_write(safe, n);
            n = 0;
        }
    }
    return heard;
}

bool screen_text(struct screen *s, const char *text, size_t size)
{
    if (size)
        s->last = text[size - 1];
    return s->terminal ? safe_text(text, size) : output_write(text, size);
}

void screen_think(struct screen *s, bool think)
{
    if (think == s->thinks)
        return;
    if (s->last)
        screen_text(s, "\n\n", s->last == '\n' ? 1 : 2);
    screen_dim(s, think);
    s->thinks = think;
    if (!s->dims)
        screen_text(s, think ? "(thinking)\n" : "(answer)\n", think ? 11 : 9);
}

void screen_dim(struct screen *s, bool dim)
{
    if (s->dims && dim != s->dimmed)
        output_write(dim ? "\033[2m" : "\033[0m", 4);
    s->dimmed = dim;
}

void screen_end_line(struct screen *s)
{
    if (s->last && s->last != '\n')
        output_write("\n", 1);
    s->last = 0;
    s->thinks = false;
}
