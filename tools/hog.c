// Takes memory as fast as it is told to, holds it for a while and ends: what a program that the
// user starts beside Rondo does to it.
//
//     hog BYTES BYTES_PER_SECOND SECONDS
//
// Every page is written once, in steps of a millisecond. Prints the milliseconds of the monotonic
// clock at which it began, had everything, and ended: "began N", "full N", "ended N".
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void tell(const char *what)
{
    printf("%s %" PRId64 "\n", what, now_ns() / 1000000);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct timespec step = {.tv_nsec = 1000000};
    double bytes = argc == 4 ? atof(argv[1]) : 0, rate = argc == 4 ? atof(argv[2]) : 0;
    double seconds = argc == 4 ? atof(argv[3]) : -1;
    if (bytes < 1 || bytes > 1e15 || rate < 1 || seconds < 0 || seconds > 1e6) {
        fputs("hog: wanted: hog BYTES BYTES_PER_SECOND SECONDS\n", stderr);
        return 2;
    }
    size_t size = (size_t)bytes;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("hog");
        return 1;
    }
    tell("began");
    int64_t began = now_ns();
    for (size_t done = 0; done < size;) {
        double due = (double)(now_ns() - began) * 1e-9 * rate;
        size_t until = due < bytes ? (size_t)due : size;
        memset(memory + done, 0x5a, until - done);
        done = until;
        nanosleep(&step, NULL);
    }
    tell("full");
    nanosleep(&(struct timespec){.tv_sec = (time_t)seconds,
                                 .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)},
              NULL);
    munmap(memory, size);
    tell("ended");
    return 0;
}
