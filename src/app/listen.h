// --listen: an address, a port or both.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

// "192.168.1.5", ":7700", "192.168.1.5:7700", "::1", "[::1]:7700". host stays empty and *port
// untouched when the text does not say them.
int listen_parse(const char *text, char *host, size_t size, uint16_t *port, struct err *e);
