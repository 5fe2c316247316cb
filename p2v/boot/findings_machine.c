/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The machine in one line: what its firmware says it is, CPUs and memory.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/findings_private.h"
#include "p2v/json.h"
#include "p2v/server/machine_name.h"

#include <stdio.h>
#include <string.h>

/* What boards are shipped with when nobody filled it in is the same for all of them. */
static void add_dmi(const char *root, const char *file, const char *before, struct text *line)
{
    char known[MACHINE_ID_SIZE];
    AUTO_FREE char *value = inventory_text(root, "/sys/class/dmi/id/%s", file);
    machine_serial_make(value, known);
    if (!known[0])
        return;
    text_add(line, line->length ? before : "");
    text_add_escaped(line, value, strlen(value));
}

void findings_read_machine(const char *root, struct boot_findings *findings)
{
    AUTO(text) line = {0};
    char size[32];
    AUTO_JSON json = json_object();
    add_dmi(root, "sys_vendor", "", &line);
    add_dmi(root, "product_name", " ", &line);
    if (line.length == 0)
        text_add(&line, "unnamed machine");
    add_dmi(root, "product_serial", ", serial ", &line);
    text_add(&line, inventory_has(root, "/sys/firmware/efi") ? ", UEFI" : ", BIOS");
    inventory_add_processors(root, json);
    long long count = json_integer_value(json_object_get(json_object_get(json, "cpu"), "count"));
    long long memory = json_integer_value(json_object_get(json, "memory_bytes"));
    text_addf(&line, ", %lld CPU%s", count, count == 1 ? "" : "s");
    if (memory > 0)
        text_addf(&line, ", %s", bytes_format((uint64_t)memory, size, sizeof(size)));
    snprintf(findings->machine, sizeof(findings->machine), "%s", text_string(&line));
}
