// Unicode's normal form C for texts of any bytes.
#pragma once

#include <stddef.h>

// The text with what is UTF-8 in it composed, malloc'd, its length in *n_out; NULL: no memory.
// Bytes that are not UTF-8 stay as they are.
char *nfc_new(const char *text, size_t n, size_t *n_out);
