// Where to listen: see listen.h.
#include "app/listen.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int listen_parse(const char *text, char *host, size_t size, uint16_t *port, struct err *e)
{
    const char *colon = strrchr(text, ':'), *end = colon ? colon : text + strlen(text);
    bool bracket = *text == '[';
    if (bracket) { // [::1] or [::1]:7667
        const char *close = strchr(text, ']');
        colon = close && close[1] == ':' ? close + 1 : NULL;
        end = close && (colon || !close[1]) ? close : NULL;
        text++;
    } else if (colon && strchr(text, ':') != colon) {
        colon = NULL; // ::1
        end = text + strlen(text);
    }
    char *rest = NULL;
    long number = colon ? strtol(colon + 1, &rest, 10) : *port;
    if (!end || (size_t)(end - text) >= size || (colon && (!colon[1] || *rest)) || number < 0 ||
        number > UINT16_MAX)
        return err_set(e, ERR_USAGE,
                       "--listen wants an address, a port or both (192.168.1.5, :7700, "
                       "[::1]:7700), not '%s'",
                       text);
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = 0;
    *port = (uint16_t)number;
    return 0;
}
