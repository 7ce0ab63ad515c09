// What a terminal can show: see terminal.h.
#include "app/terminal.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>

int terminal_columns(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col ? TERMINAL_COLUMNS : size.ws_col;
}

bool terminal_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(variables[i]);
        for (; value && *value; value++) {
            if (!strncasecmp(value, "utf-8", 5) || !strncasecmp(value, "utf8", 4))
                return true;
            if (!value[1])
                return false; // the first that is set counts
        }
    }
    return false;
}
