/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A converted machine that is there: its definition, its manifests, and the lock on it.
 */
#include "p2v/machine.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int load(struct machine *machine, enum machine_access access, struct error *err)
{
    machine->folder_fd = open(machine->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (machine->folder_fd < 0)
        return error_set(err, errno, "open %s", machine->path);
    if (flock(machine->folder_fd, (access == MACHINE_WRITE ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
        return error_set(err, 0, "%s is in use by another rehost", machine->path);
    if (!folder_has(machine->folder_fd, MACHINE_GUEST))
        return error_set(err, 0, "%s holds no converted machine (no %s in it)", machine->path,
                         MACHINE_GUEST);
    if (folder_has(machine->folder_fd, MACHINE_MERGE_MARK))
        return error_set(err, 0, "an interrupted update has to be finished first: rehost finish %s",
                         machine->path);
    machine->guest = guest_read(machine->folder_fd, MACHINE_GUEST, false, err);
    if (!machine->guest)
        return error_wrap(err, "%s", machine->path);
    return 0;
}

int machine_open(struct machine *machine, const char *path, enum machine_access access,
                 struct error *err)
{
    AUTO_FREE char *base = path_base(path);
    AUTO_FREE char *parent = path_parent(path);
    *machine = (struct machine){.path = path_join(parent, base[0] ? base : "/"), .folder_fd = -1};
    if (load(machine, access, err) != 0) {
        machine_fini(machine);
        return -1;
    }
    return 0;
}

void machine_fini(struct machine *machine)
{
    guest_free(machine->guest);
    own_close(&machine->folder_fd);
    free(machine->path);
    *machine = (struct machine){.folder_fd = -1};
}

char *machine_manifest_name(size_t disk_index)
{
    return text_format("disk%zu.manifest", disk_index);
}

int machine_read_manifest(const struct machine *machine, size_t disk_index,
                          struct manifest *manifest, struct error *err)
{
    AUTO_FREE char *name = machine_manifest_name(disk_index);
    if (!folder_has(machine->folder_fd, name))
        return 0;
    if (manifest_read(manifest, machine->folder_fd, name, err) != 0)
        return error_wrap(err, "%s", machine->path);
    if (manifest->image[0] == '\0' || manifest->image[0] == '.' || strchr(manifest->image, '/')) {
        error_set(err, 0, "%s/%s: image '%s' is not a file in that folder", machine->path, name,
                  manifest->image);
        manifest_fini(manifest);
        return -1;
    }
    return 1;
}
