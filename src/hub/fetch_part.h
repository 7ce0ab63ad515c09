// A file that is being downloaded: FILE.part and, beside it, FILE.part.json with what is known of
// it. The file gets its name when it is whole, is a GGUF file and has the digest that was told; so
// a file under its final name is a right one. A break leaves both, and the next download goes on.
#pragma once

#include "base/err.h"
#include "hub/part_state.h"

#include <stdbool.h>

struct fetch_part {
    char *path, *temporary, *state_path; // heap: FILE, FILE.part, FILE.part.json
    int fd;
    struct part_state state;
    bool changed;  // since it was last saved
    bool looked;   // the header was seen to be that of a GGUF file
    bool finished; // has its name
    size_t made;   // length of the path of the first folder that was made for it; 0: none
};

// Makes the folders, takes the lock (another download of the same file is an error) and reads the
// state, if there is one.
int fetch_part_open(struct fetch_part *p, const char *path, struct err *e);
int fetch_part_write(struct fetch_part *p, const void *data, size_t size, uint64_t at,
                     struct err *e);
// Writes the state; before it the data, so that it never says more than what is there.
int fetch_part_save(struct fetch_part *p, struct err *e);
// Forgets all bytes and what is known of them.
int fetch_part_restart(struct fetch_part *p, struct err *e);
// Whether there is room for the rest of a file of this size.
int fetch_part_room(const struct fetch_part *p, uint64_t size, struct err *e);

// Reads the header as far as it is there: 0: it is a GGUF file's and agrees with the size; 1: more
// bytes are needed; or an error.
int fetch_part_look(struct fetch_part *p, struct err *e);
// SHA-256 of the whole file. told may stop it (false).
int fetch_part_digest(struct fetch_part *p, struct digest *out,
                      bool (*told)(void *arg, uint64_t done, uint64_t total), void *arg,
                      struct err *e);
// Gives the file its name and removes the state.
int fetch_part_finish(struct fetch_part *p, struct err *e);
// Without finish what is there stays.
void fetch_part_close(struct fetch_part *p);

// SHA-256 of any file, read in large pieces.
int fetch_digest_fd(int fd, const char *path, uint64_t size, struct digest *out,
                    bool (*told)(void *arg, uint64_t done, uint64_t total), void *arg,
                    struct err *e);
