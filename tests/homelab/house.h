// A home that stands: its control groups, copies of the model and network, and the processes in it.
//
// Two processes hold it up. The owner is the one that was called: it makes the groups and copies
// and notes each of them down, in a folder below HOUSE_NOTES, before it is made. Its child is the
// first process of a namespace of processes; it lays the network and starts the nodes' processes.
// When the owner ends, whatever ends it, the kernel ends its child and with that all of the home;
// what a killed owner cannot remove (groups, copies, notes) the next one does. An owner that lives
// holds a lock on its notes.
#pragma once

#include "homelab/cage.h"
#include "homelab/home.h"
#include "homelab/wires.h"

#include <stdio.h>
#include <sys/types.h>

#define HOUSE_NOTES "/run/rondo-homelab"

enum { HOUSE_PATH_BYTES = 1024, HOUSE_ID_BYTES = 16 };

struct house_plan {
    const struct home *home;
    const char *model;  // NULL: none
    const char *copies; // folder for copies of it
    const char *states; // folder that keeps what the nodes remember; NULL: it goes with the home
};

// No pointers: another process reads it as it is (house_load).
struct house {
    struct home home;
    char id[HOUSE_ID_BYTES];
    char folder[HOUSE_PATH_BYTES]; // the notes
    char states[HOUSE_PATH_BYTES]; // with a folder for each node
    char models[HOME_MAX_NODES][HOUSE_PATH_BYTES];
    struct cage cages[HOME_MAX_NODES];
    struct wires wires;
    int lock;
    pid_t air; // 0: all links are cables
};

// ---- of the owner ------------------------------------------------------------------------------

// Removes what dead owners left; how many they were, or an error.
int house_clean(struct err *e);

// Whatever it has made when it fails, house_remove removes.
int house_build(struct house *h, const struct house_plan *p, struct err *e);
int house_remove(struct house *h, struct err *e);

// Runs `body` in the first process of the home, where the network is laid, and returns its exit
// code; signals to the owner go on to it. All processes of the home have ended then.
int house_live(struct house *h, int (*body)(struct house *h, void *arg), void *arg, struct err *e);

// ---- of the first process ----------------------------------------------------------------------

struct house_process {
    int node;
    char **command;        // {NAME} in it is that node's address, {ip} its own, {model} its file
    const char *out, *log; // files for its output; NULL: those of the caller
};

// Starts a process in a node. Its environment has RONDO_STATE, HOMELAB (the folder of the notes),
// HOMELAB_NODE, HOMELAB_NODES, HOMELAB_IP and HOMELAB_MODEL.
pid_t house_start(const struct house *h, const struct house_process *p, struct err *e);

// Waits for the process, or for `limit_ms` (0: for ever), and hands on the signals that the home
// gets. Its exit code, 128 and the number of the signal that ended it, or -1: it still runs.
int house_wait(const struct house *h, pid_t pid, int64_t limit_ms);

// ---- of a process in it ------------------------------------------------------------------------

// The house that HOMELAB names.
int house_load(struct house *h, struct err *e);

// The calling process becomes one of the node and then the command; returns only what failed.
int house_become(const struct house *h, const struct house_process *p, struct err *e);
