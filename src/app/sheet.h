// A table of texts, printed in columns for a terminal or as Markdown.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { SHEET_MAX_COLUMNS = 16, SHEET_CELL_BYTES = 112 };

struct sheet {
    const char *const *titles; // (n_columns)
    const bool *right;         // (n_columns) stands at the right: numbers
    int n_columns, n_cells;
    char (*cells)[SHEET_CELL_BYTES]; // (n_cells), row by row
};

// titles and right outlive the sheet.
void sheet_init(struct sheet *s, const char *const *titles, const bool *right, int n_columns);
void sheet_fini(struct sheet *s);

// The next cell, printed; rows follow each other. Out of memory the cell is left out, and so is
// what follows.
void sheet_add(struct sheet *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

// On standard output. In columns, those of which all cells are empty are left out.
void sheet_print_columns(const struct sheet *s);
void sheet_print_markdown(const struct sheet *s);
