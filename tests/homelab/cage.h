// The control groups of a node: what it may have of memory, processors and the disk.
//
// Both versions of control groups are known, and machines that have some controllers in one and
// some in the other. A cage is one folder for each hierarchy, made below the group of the caller
// (in version 2 below the next one around it that may have such children), and is named
// rondo-home-ID-NODE, so that what is left of a dead home is known as such.
#pragma once

#include "homelab/home.h"

enum cage_kind { CAGE_MEMORY, CAGE_CPU, CAGE_DISK, CAGE_KINDS };

enum { CAGE_PATH_BYTES = 1024 };

#define CAGE_PREFIX "rondo-home-"

// Below which folder each controller's groups are made; "" where this machine has no such.
struct cage_site {
    char parent[CAGE_KINDS][CAGE_PATH_BYTES];
    bool v2[CAGE_KINDS];
};

struct cage {
    char path[CAGE_KINDS][CAGE_PATH_BYTES]; // "": none; in version 2 the same for several
    bool v2[CAGE_KINDS];
};

struct cage_usage {
    uint64_t peak_bytes, limit_hits, oom_kills;
};

// From /proc/self/cgroup and /proc/self/mounts, which a test replaces.
void cage_find_site(struct cage_site *s, const char *groups_file, const char *mounts_file);

// Fills in the paths alone, so that they can be noted down before anything is made.
int cage_name(struct cage *c, const struct cage_site *s, const char *id, const char *node,
              struct err *e);

// `device` is "MAJOR:MINOR" of the disk with the model, for a read rate. A limit that this machine
// cannot set is an error.
int cage_make(const struct cage *c, const struct home_node *n, const char *device, struct err *e);

// The calling process moves in.
int cage_enter(const struct cage *c, struct err *e);

void cage_usage(const struct cage *c, struct cage_usage *u);

// Kills what is left inside and removes the folders; one that is not there is fine.
int cage_remove(const struct cage *c, struct err *e);
int cage_remove_folder(const char *path, struct err *e);
