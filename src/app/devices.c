// Descriptions of machines: see devices.h.
#include "app/devices.h"

#include "app/amounts.h"
#include "app/device_files.h"
#include "app/sheet.h"
#include "base/check.h"
#include "disk/io.h"
#include "kernels/blocks.h"
#include "plan/json_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- devices of the program --------------------------------------------------------------------

static int parse_device(struct profile_device *out, const struct device_file *f, struct err *e)
{
    const struct profile_json how = {.file = f->name};
    json_t *json;
    int rc = fields_parse(&json, f->text, (size_t)(f->end - f->text), f->name, e);
    if (rc)
        return rc;
    rc = profile_json_read_machine(out, json, &how, e);
    json_decref(json);
    return rc;
}

// One of the program, by name.
static int device_find(struct profile_device *out, const char *name, struct err *e)
{
    const char *names[DEVICE_FILES];
    char quoted[64];
    for (int i = 0; i < DEVICE_FILES; i++) {
        names[i] = device_files[i].name;
        if (!strcasecmp(names[i], name))
            return parse_device(out, &device_files[i], e);
    }
    const char *near = options_nearest(name, names, DEVICE_FILES);
    err_quote(quoted, sizeof quoted, name, (int)strlen(name));
    if (near)
        return err_set(e, ERR_USAGE, "there is no device '%s'; did you mean %s?", quoted, near);
    return err_set(e, ERR_USAGE,
                   "there is no device '%s'; rondo plan --devices lists those that there are",
                   quoted);
}

static const char *comment_of(const json_t *json)
{
    const json_t *comment = json_object_get(json, "comment");
    const char *text =
        json_string_value(json_is_array(comment) ? json_array_get(comment, 0) : comment);
    return text ? text : "";
}

static void add_device(struct sheet *s, const struct device_file *f)
{
    static struct profile_device d;
    char memory[AMOUNT_BYTES], vram[AMOUNT_BYTES];
    json_t *json = json_loadb(f->text, (size_t)(f->end - f->text), 0, NULL);
    CHECK(json && !parse_device(&d, f, NULL)); // a file of profiles/ that is wrong
    const struct plan_machine *m = &d.machine;
    amount_size(memory, m->memory);
    amount_size(vram, m->vram);
    sheet_add(s, "%s", f->name);
    sheet_add(s, "%s", memory);
    sheet_add(s, "%.1f", 1e-9 / profile_product(&m->cpu, PLAN_LANES, WT_Q4_K, 1));
    sheet_add(s, "%.2f", m->disk / 1e9);
    sheet_add(s, "%s", m->vram ? vram : "");
    sheet_add(s, "%s", comment_of(json));
    json_decref(json);
}

void device_list(void)
{
    static const char *const titles[] = {"device",    "memory", "weights GB/s",
                                         "disk GB/s", "GPU",    "what it is"};
    static const bool right[] = {false, true, true, true, true, false};
    struct sheet s;
    sheet_init(&s, titles, right, sizeof right);
    for (int i = 0; i < DEVICE_FILES; i++)
        add_device(&s, &device_files[i]);
    sheet_print_columns(&s);
    sheet_fini(&s);
    printf("\nmemory is what Rondo may take; profiles/ in the source says where the numbers come "
           "from\n");
}

// ---- files -------------------------------------------------------------------------------------

int device_read_json(json_t **out, const char *path, char *name, size_t name_size, struct err *e)
{
    int rc = 0;
    err_quote(name, (int)name_size, path, (int)strlen(path));
    int fd = disk_io->open(path, O_RDONLY | O_NONBLOCK, 0); // a pipe would hang
    int64_t size = fd < 0 ? -1 : disk_io->size(fd);
    char *text = NULL;
    if (size < 0)
        rc = err_errno(e, ERR_FAILED, "%s: cannot be opened", name);
    else if (!size)
        rc = err_set(e, ERR_FAILED, "%s: is empty, or a pipe; give a file with JSON", name);
    else if (size > FIELDS_TEXT)
        rc = err_set(e, ERR_FAILED, "%s: is larger than %d KiB, and no description of machines is",
                     name, FIELDS_TEXT >> 10);
    else if (!(text = malloc((size_t)size + 1)))
        rc = err_set(e, ERR_NO_MEMORY, "%s: no memory to read it", name);
    else if (disk_read_full(fd, text, (size_t)size, 0))
        rc = err_errno(e, ERR_FAILED, "%s: cannot be read", name);
    else
        rc = fields_parse(out, text, (size_t)size, name, e);
    free(text);
    if (fd >= 0)
        disk_io->close(fd);
    return rc;
}

int device_open(struct profile_device *out, const char *name, struct err *e)
{
    char shown[256];
    json_t *json;
    if (!strchr(name, '/') && !strchr(name, '.'))
        return device_find(out, name, e);
    int rc = device_read_json(&json, name, shown, sizeof shown, e);
    if (rc)
        return rc;
    const struct profile_json how = {.file = shown, .find = device_find};
    rc = profile_json_read_machine(out, json, &how, e);
    json_decref(json);
    return rc;
}

int device_read_cluster(struct plan_cluster *out, struct plan_link *network, const char *path,
                        struct err *e)
{
    char shown[256];
    json_t *json;
    int rc = device_read_json(&json, path, shown, sizeof shown, e);
    if (rc)
        return rc;
    const struct profile_json how = {.file = shown, .find = device_find};
    rc = profile_json_read_cluster(out, network, json, &how, e);
    json_decref(json);
    return rc;
}
