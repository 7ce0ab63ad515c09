// Log lines: formatted into one buffer and written by one write(2), so that lines of threads and
// processes never mix.
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum log_level max_level = LOG_WARN;
static const char *const names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    max_level = level;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > max_level)
        return;
    char line[1024];
    int n = snprintf(line, sizeof line, "rondo: %s", level == LOG_INFO ? "" : names[level]);
    if (level != LOG_INFO)
        n += snprintf(line + n, sizeof line - (size_t)n, ": ");
    va_list args;
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    n = m < 0 ? n : n + m;
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)n);
    (void)written; // nowhere left to complain
}
