// Tables of texts: see sheet.h.
#include "app/sheet.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sheet_init(struct sheet *s, const char *const *titles, const bool *right, int n_columns)
{
    *s = (struct sheet){.titles = titles, .right = right, .n_columns = n_columns};
}

void sheet_fini(struct sheet *s)
{
    free(s->cells);
    *s = (struct sheet){0};
}

void sheet_add(struct sheet *s, const char *format, ...)
{
    va_list args;
    void *grown = realloc(s->cells, (size_t)(s->n_cells + 1) * sizeof *s->cells);
    if (!grown)
        return;
    s->cells = grown;
    va_start(args, format);
    vsnprintf(s->cells[s->n_cells++], sizeof *s->cells, format, args);
    va_end(args);
}

// Characters of UTF-8: every byte that does not continue one.
static int characters(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

// Prints a cell in its column; what is to be left blank before the next one goes to *blanks, so
// that no line ends with them.
static void print_cell(const struct sheet *s, int column, const char *text, int width, int *blanks)
{
    int rest = width - characters(text);
    if (!*text) {
        *blanks += width + 2;
        return;
    }
    printf("%*s%s", *blanks + (s->right[column] ? rest : 0), "", text);
    *blanks = 2 + (s->right[column] ? 0 : rest);
}

void sheet_print_columns(const struct sheet *s)
{
    int width[SHEET_MAX_COLUMNS] = {0}, rows = s->n_cells / s->n_columns;
    CHECK(s->n_columns <= SHEET_MAX_COLUMNS);
    for (int i = 0; i < rows * s->n_columns; i++) {
        int c = i % s->n_columns, n = characters(s->cells[i]);
        width[c] = n > width[c] ? n : width[c];
    }
    for (int row = -1; row < rows; row++) {
        int blanks = 0;
        for (int c = 0; c < s->n_columns; c++) {
            int title = characters(s->titles[c]), wide = title > width[c] ? title : width[c];
            if (width[c]) // else nothing is in it
                print_cell(s, c, row < 0 ? s->titles[c] : s->cells[row * s->n_columns + c], wide,
                           &blanks);
        }
        putchar('\n');
    }
}

static void print_row(const struct sheet *s, int row)
{
    for (int c = 0; c < s->n_columns; c++)
        printf("| %s ", row < 0 ? s->titles[c] : s->cells[row * s->n_columns + c]);
    puts("|");
}

void sheet_print_markdown(const struct sheet *s)
{
    print_row(s, -1);
    for (int c = 0; c < s->n_columns; c++)
        fputs(s->right[c] ? "|---:" : "|---", stdout);
    puts("|");
    for (int row = 0; row < s->n_cells / s->n_columns; row++)
        print_row(s, row);
}
