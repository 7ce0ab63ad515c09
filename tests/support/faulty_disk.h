// A disk that fails when a test says so: disk_io swapped for a table that counts calls, lets the
// n-th of a kind fail, cuts reads and writes short, interrupts them, refuses direct reads, or is
// full.
//
//     for (long n = 0;; n++) { // every place where it can fail, one after the other
//         faulty_disk((struct disk_faults){.call = DISK_PREAD, .nth = n, .error = EIO});
//         int rc = do_it(&e);
//         if (!faulty_disk_end())
//             break; // n is beyond the last call: nothing failed
//         assert_true(rc < 0);
//     }
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_call {
    DISK_NO_CALL,
    DISK_OPEN,
    DISK_CLOSE,
    DISK_PREAD,
    DISK_PWRITE,
    DISK_SIZE,
    DISK_STAMP,
    DISK_MAP,
    DISK_UNMAP,
    DISK_ADVISE,
    DISK_RENAME,
    DISK_UNLINK,
    DISK_FSYNC,
    DISK_RING_INIT,
    DISK_RING_REGISTER,
    DISK_RING_SUBMIT,
    DISK_RING_RESULT,
    DISK_CALLS,
};

struct disk_faults {
    enum disk_call call; // what fails; DISK_NO_CALL: nothing
    long nth;            // which of them, from 0
    bool onwards;        // and all that follow it
    int error;           // its errno; 0 with DISK_PREAD, DISK_RING_RESULT: the file ends there
    size_t most;         // bytes that one pread, pwrite or read of a ring moves; 0: all
    bool interrupt;      // every other pread, pwrite and read of a ring is EINTR
    bool no_direct;      // files are not opened with O_DIRECT
    long direct_reads;   // not 0: so many reads of files that are, all others are EINVAL
    bool full;           // there is room for ...
    int64_t room;        // ... this many written bytes
};

// Swaps the table. Not while other threads use the disk.
void faulty_disk(struct disk_faults f);
// Puts the real disk back; whether the fault happened (a failing call, or no room).
bool faulty_disk_end(void);
// Calls of a kind since faulty_disk.
long faulty_disk_calls(enum disk_call call);
