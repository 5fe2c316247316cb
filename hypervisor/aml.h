/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing AML, ACPI's byte code (ACPI 6.3, chapter 20): as much of it as a table of devices needs.
 * Objects that hold others are begun and ended; their lengths are filled in at the end.
 */
#ifndef HYPERVISOR_AML_H
#define HYPERVISOR_AML_H

#include "base/text.h"

#include <stdint.h>

/* Names have four characters, as "PCI0" or "_HID". */
void aml_name(struct text *aml, const char *name); /* Name(NAME, and then an object) */
void aml_integer(struct text *aml, uint32_t value);
void aml_string(struct text *aml, const char *value);
void aml_eisa_id(struct text *aml, const char *id); /* "PNP0A03" */

/* Each returns what aml_end needs. */
size_t aml_begin_scope(struct text *aml, const char *path); /* as "\\_SB_" */
size_t aml_begin_device(struct text *aml, const char *name);
size_t aml_begin_package(struct text *aml, uint8_t elements);
void aml_end(struct text *aml, size_t begun);

/* Resource descriptors (ACPI 6.3, section 6.4) are gathered and added as one object. */
void aml_io(struct text *resources, uint16_t port, uint8_t length);
void aml_irq(struct text *resources, unsigned irq);
void aml_bus_range(struct text *resources, uint16_t first, uint16_t last);
void aml_io_window(struct text *resources, uint16_t first, uint16_t last);
void aml_memory_window(struct text *resources, uint32_t first, uint32_t last);
void aml_resources(struct text *aml, const struct text *resources); /* Name(_CRS, ...) */

#endif
