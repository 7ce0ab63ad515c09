// rondo measure: what this machine has to give to a model, measured where it can be.
#include "app/amounts.h"
#include "app/model_path.h"
#include "app/output.h"
#include "app/printable.h"
#include "app/sheet.h"
#include "app/speed_sheet.h"
#include "app/verbs.h"
#include "disk/io.h"
#include "measure/disk_rate.h"
#include "measure/dram.h"
#include "measure/machine.h"
#include "weights/budget.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const int64_t disk_ns = 300000000; // each way

struct findings {
    struct machine machine;
    uint64_t available, automatic; // bytes; UINT64_MAX: nobody says
    double dram_gbps;
    int dram_threads;
    char path[MODEL_PATH_BYTES]; // "": no file
    struct disk_rate disk;
    struct speed_sheet speed; // when there is a file
};

// ---- measuring ---------------------------------------------------------------------------------

static int measure_dram(struct findings *f, int threads, struct err *e)
{
    struct dram *d;
    int rc = dram_open(&d, threads, 0, e);
    if (rc)
        return rc;
    f->dram_gbps = dram_read_gbps(d);
    f->dram_threads = dram_threads(d);
    dram_close(d);
    return 0;
}

static int measure_disk(struct findings *f, const char *model, struct err *e)
{
    int rc = model_path_find(model, f->path, sizeof f->path, e);
    if (rc)
        return rc;
    struct stat s;
    int fd = disk_io->open(f->path, O_RDONLY | O_NONBLOCK, 0); // a pipe would hang
    int64_t size = fd < 0 ? -1 : disk_io->size(fd);
    if (size < 0) {
        rc = err_errno(e, ERR_FAILED, "%s: cannot be opened", f->path);
    } else if (!fstat(fd, &s) && !S_ISREG(s.st_mode)) {
        rc = err_set(e, ERR_FAILED, "%s: is not a file; give the path of one, or a model's name",
                     f->path);
    } else {
        struct err why = {0};
        rc = disk_rate_measure(&f->disk, fd, (uint64_t)size, disk_ns, &why);
        if (rc)
            err_set(e, rc, "%s: %s", f->path, why.text);
    }
    if (fd >= 0)
        disk_io->close(fd);
    return rc;
}

// ---- printing ----------------------------------------------------------------------------------

static void print_disk(const struct findings *f)
{
    static const char *const titles[] = {"", "way", "GB/s", "CPU s per GB"};
    static const bool right[] = {false, false, true, true};
    struct sheet s;
    printf("\ndisk        ");
    printable_put(stdout, f->path, strlen(f->path), 1 << 28);
    printf("\n\n");
    sheet_init(&s, titles, right, 4);
    for (int i = 0; i < READER_KINDS; i++) {
        const struct disk_way *w = &f->disk.ways[i];
        sheet_add(&s, "%s", i == (int)f->disk.chosen ? "*" : "");
        if (w->measured) {
            sheet_add(&s, "%s", w->how);
            sheet_add(&s, "%.2f", w->gbps);
            sheet_add(&s, "%.3f", w->cpu_s_per_gb);
        } else {
            sheet_add(&s, "%s: %s", reader_kind_name((enum reader_kind)i), w->how);
            sheet_add(&s, "%s", "");
            sheet_add(&s, "%s", "");
        }
    }
    sheet_print_columns(&s);
    sheet_fini(&s);
    printf("\n* the way that models are read here\n");
}

static void print_table(const struct findings *f)
{
    char installed[AMOUNT_BYTES], available[AMOUNT_BYTES], automatic[AMOUNT_BYTES];
    amount_size(installed, f->machine.memory_bytes);
    amount_size(available, f->available);
    amount_size(automatic, f->automatic);
    printf("processor   %s, %d hardware threads\n", f->machine.processor, f->machine.n_processors);
    printf("system      %s\n", f->machine.system);
    printf("memory      %s", installed);
    if (f->available != UINT64_MAX)
        printf(", %s available", available);
    if (f->automatic != UINT64_MAX)
        printf(", of which rondo takes up to %s by itself", automatic);
    printf("\nDRAM        %.1f GB/s with %d thread%s\n", f->dram_gbps, f->dram_threads,
           f->dram_threads == 1 ? "" : "s");
    if (*f->path) {
        print_disk(f);
        speed_sheet_print(&f->speed);
    } else {
        printf("disk        name a model to measure the disk that it lies on\n");
    }
}

static json_t *json_bytes(uint64_t bytes)
{
    return bytes == UINT64_MAX ? json_null() : json_integer((json_int_t)bytes);
}

static json_t *json_disk(const struct findings *f)
{
    char path[512];
    json_t *ways = json_array();
    for (int i = 0; i < READER_KINDS; i++) {
        const struct disk_way *w = &f->disk.ways[i];
        json_t *way = json_pack("{s:s, s:s, s:b}", "way", reader_kind_name((enum reader_kind)i),
                                "how", w->how, "measured", (int)w->measured);
        if (w->measured) {
            json_object_set_new(way, "gbps", json_real(w->gbps));
            json_object_set_new(way, "cpu_s_per_gb", json_real(w->cpu_s_per_gb));
            json_object_set_new(way, "bytes", json_integer((json_int_t)w->bytes));
        }
        json_array_append_new(ways, way);
    }
    err_quote(path, sizeof path, f->path, (int)strlen(f->path));
    return json_pack("{s:s, s:s, s:o}", "path", path, "chosen", reader_kind_name(f->disk.chosen),
                     "ways", ways);
}

static int print_json(const struct findings *f, struct err *e)
{
    const struct machine *m = &f->machine;
    return output_json(
        json_pack("{s:{s:s, s:s, s:i, s:I}, s:{s:o, s:o}, s:{s:f, s:i}, s:o, s:o}", "machine",
                  "processor", m->processor, "system", m->system, "processors", m->n_processors,
                  "memory_bytes", (json_int_t)m->memory_bytes, "memory", "available_bytes",
                  json_bytes(f->available), "automatic_bytes", json_bytes(f->automatic), "dram",
                  "read_gbps", f->dram_gbps, "threads", f->dram_threads, "disk",
                  *f->path ? json_disk(f) : json_null(), "model",
                  *f->path ? speed_sheet_json(&f->speed) : json_null()),
        e);
}

static int run(const struct options *o, struct err *e)
{
    static struct findings f;
    const char *model = options_arg(o, 0);
    f = (struct findings){.available = budget_available(""), .automatic = budget_automatic("")};
    machine_describe(&f.machine);
    int rc = model ? measure_disk(&f, model, e) : 0; // first: a model may not be there
    if (!rc && model)
        rc = speed_sheet_take(&f.speed, f.path, o, e);
    if (!rc)
        rc = measure_dram(&f, (int)options_int(o, OPT_THREADS), e);
    if (rc)
        return rc;
    if (options_flag(o, OPT_JSON))
        return print_json(&f, e);
    print_table(&f);
    return 0;
}

const struct verb verb_measure = {
    .name = "measure",
    .summary = "measure this machine: memory, disk, and speed with a model",
    .usage = "[MODEL]",
    .text =
        "Prints what the machine is, how much memory there is for models, and how fast it reads "
        "memory. When a model is named, also how fast its file comes from its disk, by io_uring "
        "past the page cache, by threads past it, and by threads through it, each as far as "
        "this machine has it; and what plans are made with: how fast each type of the model's "
        "weights is multiplied, as the file has them (rows) and turned for speed (lanes), "
        "with one token of an answer and with several of a prompt at once.\n\n"
        "This takes about three seconds. What plans are made with is kept in "
        "~/.local/state/rondo for the next time, --again measures it anew; nothing else is "
        "written. What the page cache holds of the file stays there.",
    .options = (const struct verb_option[]){{OPT_THREADS, "0"},
                                            {OPT_PIN, "auto"},
                                            {OPT_KV, "f16"},
                                            {OPT_ISA, "auto"},
                                            {OPT_AGAIN, NULL},
                                            {OPT_JSON, NULL},
                                            {OPT_END, NULL}},
    .min_args = 0,
    .max_args = 1,
    .run = run,
};
