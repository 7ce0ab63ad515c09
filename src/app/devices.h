// Typical devices and other descriptions of machines, by name or file.
#pragma once

#include "app/options.h"
#include "plan/profile_json.h"

// A device of the program (device_files.h), by name; or a file with a machine when `name` has a dot
// or a slash.
int device_open(struct profile_device *out, const char *name, struct err *e);
// A table of them, on standard output.
void device_list(void);

// The JSON in a file; `name` is what sentences call it.
int device_read_json(json_t **out, const char *path, char *name, size_t name_size, struct err *e);
// A file with a cluster. `network` (PLAN_MAX_NODES): as in profile_json_read_cluster.
int device_read_cluster(struct plan_cluster *out, struct plan_link *network, const char *path,
                        struct err *e);
