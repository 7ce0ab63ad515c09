// Who this node is: a P-256 key and its self-signed certificate, made once and kept under the
// user's state folder. The fingerprint is the SHA-256 of the certificate.
#pragma once

#include "base/err.h"
#include "net/tls.h"

#include <stdbool.h>
#include <stddef.h>

enum { IDENTITY_PATH = 4096 };

// $RONDO_STATE, else $XDG_STATE_HOME/rondo, else ~/.local/state/rondo; made when absent, mode 0700.
int identity_folder(char out[IDENTITY_PATH], struct err *e);
// Reads `folder`/identity.pem, or makes it (atomically, mode 0600) when there is none. Refuses a
// file or folder that others may read or write.
int identity_open(struct tls_identity **out, const char *folder, struct err *e);
// The name of this machine for people, printable.
void identity_name(char *out, size_t size);

// ---- Files with secrets in them: mode 0600, owned by this user.

// 0; 1: there is none; or an error, also when others may read it or it does not fit into `room`.
int identity_read_private(const char *path, char *out, size_t room, size_t *size, struct err *e);
// Atomically: a reader sees all of it or none. Without `replace` a file that is already there
// stays.
int identity_write_private(const char *path, const char *data, size_t size, bool replace,
                           struct err *e);
