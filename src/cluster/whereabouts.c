// Where a node is: see whereabouts.h. Two nodes of one machine see one boot id, also from inside
// containers; a file's disk is known by its device, one that lies elsewhere by the name of its
// mount.
#include "cluster/whereabouts.h"

#include "base/cores.h"
#include "base/digest.h"
#include "base/pool.h"
#include "measure/throttles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { TEXT = 4096 };

static void digest_text(uint8_t out[16], const char *what, const char *text)
{
    struct digest_state *s = digest_begin();
    digest_add(s, what, strlen(what) + 1);
    digest_add(s, text, strlen(text));
    struct digest d = digest_end(s);
    memcpy(out, d.bytes, 16);
}

// The first line; false: there is none.
static bool first_line(const char *path, char out[TEXT])
{
    FILE *f = fopen(path, "re");
    bool read = f && fgets(out, TEXT, f);
    if (f)
        fclose(f);
    return read && *out;
}

static bool far_away(const char *type)
{
    static const char *const types[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(type, types[i]))
            return true;
    return false;
}

// "fs-type source" of a mounted device, where it lies on another machine.
static bool remote_source(dev_t device, char out[TEXT])
{
    char line[TEXT], wanted[32], type[64], source[TEXT];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    snprintf(wanted, sizeof wanted, " %u:%u ", major(device), minor(device));
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        if (!rest || !strstr(line, wanted) || strstr(line, wanted) > rest)
            continue;
        found = sscanf(rest, " - %63s %4095s", type, source) == 2 && far_away(type);
        if (found)
            snprintf(out, TEXT, "%.63s %.4000s", type, source);
    }
    if (f)
        fclose(f);
    return found;
}

// The disk that a partition is of, as /sys names it; else the device's numbers.
static void local_disk(dev_t device, char out[TEXT])
{
    char path[64], real[TEXT], partition[TEXT + 16];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(device), minor(device));
    ssize_t n = readlink(path, real, sizeof real - 1);
    snprintf(out, TEXT, "%u:%u", major(device), minor(device));
    if (n <= 0)
        return;
    real[n] = 0;
    snprintf(partition, sizeof partition, "%s/partition", path);
    char *slash = strrchr(real, '/');
    if (slash && access(partition, F_OK) == 0)
        *slash = 0;
    slash = strrchr(real, '/');
    snprintf(out, TEXT, "%s", slash ? slash + 1 : real);
}

static void find_disk(struct whereabouts *w, const char *machine, const char *path)
{
    struct stat s;
    char text[TEXT], both[2 * TEXT];
    if (stat(path, &s))
        return;
    if (remote_source(s.st_dev, text)) {
        digest_text(w->disk, "rondo disk", text);
        return;
    }
    if (!*machine)
        return;
    local_disk(s.st_dev, text);
    snprintf(both, sizeof both, "%s%s", machine, text);
    digest_text(w->disk, "rondo disk", both);
}

void whereabouts_find(struct whereabouts *out, const char *path, int n_threads)
{
    const struct cores *here = cores_here();
    char boot[TEXT] = "", throttles[THROTTLES_BYTES];
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    double threads = n_threads > 0 ? n_threads : pool_default_threads();
    double most = online > 0 ? (double)online : 1;
    *out = (struct whereabouts){.of_processors = (uint32_t)(100 * most)};
    if (here->quota > 0 && threads > here->quota)
        threads = here->quota;
    out->processors = (uint32_t)(100 * (threads < most ? threads : most));
    if (first_line("/proc/sys/kernel/random/boot_id", boot))
        digest_text(out->machine, "rondo machine", boot);
    throttles_read(throttles);
    if (!*throttles) // else it has a share of its own
        find_disk(out, boot, path);
}
