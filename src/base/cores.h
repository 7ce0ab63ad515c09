// The processors that this process may compute on: how many, which of them are hyper-threads of one
// core, which are slow, and how much of their time cgroups leave to it.
//
// Everything is read from the files of Linux below a root folder, so that tests can show machines
// that are not there. What is missing is taken for the plain case: a core of its own, as fast as
// the others, without a limit.
#pragma once

#include <sched.h>

enum {
    CORES_MAX = CPU_SETSIZE,
    CORES_FULL_SPEED = 1024,
};

struct cores_cpu {
    int number; // as the system counts
    int core;   // the least number of its core's hyper-threads
    int rank;   // 0: the first hyper-thread of its core that this process may use
    int speed;  // of CORES_FULL_SPEED, which the fastest of them has
};

struct cores {
    int n;        // that this process may use
    int n_cores;  // physical ones
    int n_able;   // of n_cores: fast enough to take part
    double quota; // CPUs' worth of time that the process may use; 0: no limit
    // In the order in which threads should take them: one of each core before second
    // hyper-threads, fast ones before slow ones.
    struct cores_cpu cpu[CORES_MAX];
};

// What is found below `root` ("" for this machine) of the CPUs in `allowed`.
void cores_read(struct cores *c, const char *root, const cpu_set_t *allowed);
// This process on this machine, looked at once; any thread.
const struct cores *cores_here(void);
// How many compute threads are right: one for each core that is fast enough, within the quota.
int cores_threads(const struct cores *c);
