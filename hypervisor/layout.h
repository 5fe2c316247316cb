/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where things are in a guest: one place for the addresses and interrupts that the firmware tables,
 * the devices and the memory map have to agree on. A PC with an i440FX's id and no south bridge.
 *
 *   0          0x9fc00    0xf0000     1M         ram_low      0xc0000000   0xfec00000      4G
 *   |   RAM    |  EBDA..  | SeaBIOS   |   RAM ...|            | PCI window | APICs, ROM    | RAM
 * ...
 */
#ifndef HYPERVISOR_LAYOUT_H
#define HYPERVISOR_LAYOUT_H

#include <stdint.h>

/* Memory, in bytes of guest-physical address. */
#define LAYOUT_RAM_LOW_MAX UINT64_C(0xc0000000) /* RAM below 4 GiB ends here at the latest */
#define LAYOUT_RAM_HIGH UINT64_C(0x100000000)
#define LAYOUT_PCI_WINDOW UINT64_C(0xc0000000)
#define LAYOUT_PCI_WINDOW_END UINT64_C(0xfec00000)
#define LAYOUT_IOAPIC UINT64_C(0xfec00000)
#define LAYOUT_LAPIC UINT64_C(0xfee00000)
#define LAYOUT_IDENTITY_MAP UINT64_C(0xfeffc000) /* one page; KVM on Intel wants it */
#define LAYOUT_TSS UINT64_C(0xfeffd000)          /* three pages; the same */
#define LAYOUT_4G UINT64_C(0x100000000)
#define LAYOUT_EBDA UINT64_C(0x9fc00)
#define LAYOUT_BIOS UINT64_C(0xf0000) /* to 1 MiB: reserved in the memory map */

/* I/O ports. */
#define LAYOUT_PORT_RTC 0x70
#define LAYOUT_PORT_I8042 0x60 /* 0x60 and 0x64 */
#define LAYOUT_PORT_SYSTEM 0x92
#define LAYOUT_PORT_TEST_EXIT 0xf4 /* --test-exit only: a payload ends the machine */
#define LAYOUT_PORT_SERIAL 0x3f8
#define LAYOUT_PORT_DEBUG 0x402
#define LAYOUT_PORT_PVPANIC 0x505
#define LAYOUT_PORT_FWCFG 0x510
#define LAYOUT_PORT_PM 0x600 /* PM1a event 0x600, PM1a control 0x604, PM timer 0x608 */
#define LAYOUT_PORT_PCI 0xcf8
#define LAYOUT_PORT_RESET 0xcf9

/* Global system interrupts. The first 16 are the ISA ones. */
#define LAYOUT_GSI_SERIAL 4
#define LAYOUT_GSI_RTC 8
#define LAYOUT_GSI_SCI 9
#define LAYOUT_GSI_PCI 16 /* 16 to 23: INTA of slot n is 16 + n % 8 */
#define LAYOUT_GSI_PCI_COUNT 8
#define LAYOUT_GSI_COUNT 24

#define LAYOUT_MAX_CPUS 64
#define LAYOUT_IOAPIC_ID 0 /* as the chip says after a reset */

#endif
