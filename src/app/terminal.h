// What a terminal can show: how wide it is, and which characters.
#pragma once

#include <stdbool.h>

enum { TERMINAL_COLUMNS = 80 }; // of what is none, or does not say

int terminal_columns(int fd);
// By the locale of the environment: LC_ALL, LC_CTYPE, LANG.
bool terminal_utf8(void);
