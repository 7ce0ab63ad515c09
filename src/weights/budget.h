// Memory that this process may still take without pushing anybody out.
//
// Several limits hold at once: what the machine has, and what each control group around this
// process may take (version 1 or 2, nested ones included). Each is a *source*. What a source counts
// as page cache of files is free: it makes way at once. Swap never counts.
//
// Of each source a *floor* stays free, so that there is time to give memory back before anybody is
// killed: between two looks 20 ms apart a fast program takes 20 MB.
//
//     machine   256 MiB, or 5% of its memory where that is more
//     group     5% of its limit: 256 MiB of a limit of 5 GiB and more as on a machine, less of a
//               smaller one, which 256 MiB could be half of
//
// `root` of all functions: "" on a real machine, the folder of a made-up one in tests.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BUDGET_NAME_BYTES = 256, BUDGET_MAX_SOURCES = 32 };

struct budget_source {
    char name[BUDGET_NAME_BYTES]; // "the machine", "the control group /user.slice"
    char folder[1024];            // of the group; "": the machine
    bool v2;
    bool limits;    // false: no limit at the moment, and nothing below is known
    uint64_t limit; // bytes, all
    uint64_t used;  // without page cache
    uint64_t free;
    uint64_t floor;
};

// Looks at the sources again and again: files are opened once. One thread at a time.
struct budget_watch;
struct budget_watch *budget_watch_open(const char *root); // NULL: no memory
void budget_watch_close(struct budget_watch *w);

// Looks now. True when the sources are others than at the last call: the first time, and when this
// process has been moved to another group.
bool budget_watch_poll(struct budget_watch *w);

// As of the last poll; the pointer stays.
int budget_watch_sources(const struct budget_watch *w, const struct budget_source **out);

// The least that is free in any source. UINT64_MAX: nobody says.
uint64_t budget_available(const char *root);

// What a node that is not told otherwise may take: the least of what is free less twice the floor,
// once to stay free and once to breathe; a quarter of it where that is more. UINT64_MAX: nobody
// says.
uint64_t budget_automatic(const char *root);

// What there is in all: the least of the machine's memory and the limits. UINT64_MAX: nobody says.
uint64_t budget_total(const char *root);
