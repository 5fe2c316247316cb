/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The program headers lead to the dynamic section, its DT_STRTAB is an address that the loadable
 * segments turn into an offset. Every offset, size and count is checked against the buffer.
 */
#include "p2v/media/elf_file.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

struct elf {
    const uint8_t *data;
    uint64_t length;
    uint64_t headers; /* the program headers' or the section headers' offset */
    unsigned count;
};

bool elf_detect(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    return length >= sizeof(Elf64_Ehdr) && memcmp(bytes, ELFMAG, SELFMAG) == 0 &&
           bytes[EI_CLASS] == ELFCLASS64 && bytes[EI_DATA] == ELFDATA2LSB;
}

static bool open_table(struct elf *elf, const void *data, size_t length, size_t offset_field,
                       size_t count_field, size_t entry_bytes)
{
    if (!elf_detect(data, length))
        return false;
    *elf = (struct elf){.data = data, .length = length};
    elf->headers = load_le64(elf->data + offset_field);
    elf->count = load_le16(elf->data + count_field);
    return range_is_inside(elf->headers, (uint64_t)elf->count * entry_bytes, length);
}

static Elf64_Phdr load_segment(const struct elf *elf, unsigned index)
{
    Elf64_Phdr segment;
    memcpy(&segment, elf->data + elf->headers + index * sizeof(segment), sizeof(segment));
    return (Elf64_Phdr){.p_type = le32toh(segment.p_type),
                        .p_offset = le64toh(segment.p_offset),
                        .p_vaddr = le64toh(segment.p_vaddr),
                        .p_filesz = le64toh(segment.p_filesz)};
}

static Elf64_Shdr load_section(const struct elf *elf, unsigned index)
{
    Elf64_Shdr section;
    memcpy(&section, elf->data + elf->headers + index * sizeof(section), sizeof(section));
    return (Elf64_Shdr){.sh_name = le32toh(section.sh_name),
                        .sh_type = le32toh(section.sh_type),
                        .sh_offset = le64toh(section.sh_offset),
                        .sh_size = le64toh(section.sh_size)};
}

/* A string that ends before `end`; NULL otherwise. */
static const char *string_at(const struct elf *elf, uint64_t offset, uint64_t end)
{
    if (end > elf->length || offset >= end ||
        !memchr(elf->data + offset, '\0', (size_t)(end - offset)))
        return NULL;
    return (const char *)elf->data + offset;
}

/* --- what a program needs --- */

/* The file's offset of what is loaded at `address`, and where its segment ends in the file. */
static bool find_address(const struct elf *elf, uint64_t address, uint64_t *offset, uint64_t *end)
{
    for (unsigned i = 0; i < elf->count; i++) {
        Elf64_Phdr segment = load_segment(elf, i);
        if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_filesz &&
            range_is_inside(segment.p_offset, segment.p_filesz, elf->length)) {
            *offset = segment.p_offset + (address - segment.p_vaddr);
            *end = segment.p_offset + segment.p_filesz;
            return true;
        }
    }
    return false;
}

static bool find_value(const struct elf *elf, const Elf64_Phdr *dynamic, int64_t tag,
                       uint64_t *value)
{
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->p_filesz; at += sizeof(Elf64_Dyn)) {
        const uint8_t *entry = elf->data + dynamic->p_offset + at;
        int64_t found = (int64_t)load_le64(entry);
        if (found == DT_NULL)
            return false;
        if (found == tag) {
            *value = load_le64(entry + 8);
            return true;
        }
    }
    return false;
}

static bool read_names(const struct elf *elf, const Elf64_Phdr *dynamic, uint64_t strings,
                       uint64_t end, struct elf_needed *needed)
{
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->p_filesz; at += sizeof(Elf64_Dyn)) {
        const uint8_t *entry = elf->data + dynamic->p_offset + at;
        int64_t tag = (int64_t)load_le64(entry);
        uint64_t offset;
        if (tag == DT_NULL)
            return true;
        if (tag != DT_NEEDED)
            continue;
        if (needed->count == ELF_MAX_NEEDED || !checked_add(strings, load_le64(entry + 8), &offset))
            return false;
        const char *name = string_at(elf, offset, end);
        if (!name || !*name || strlen(name) >= ELF_MAX_NAME || strchr(name, '/'))
            return false;
        needed->names[needed->count++] = name;
    }
    return true;
}

bool elf_read_needed(const void *data, size_t length, struct elf_needed *needed)
{
    struct elf elf;
    *needed = (struct elf_needed){0};
    if (!open_table(&elf, data, length, offsetof(Elf64_Ehdr, e_phoff),
                    offsetof(Elf64_Ehdr, e_phnum), sizeof(Elf64_Phdr)))
        return false;
    for (unsigned i = 0; i < elf.count; i++) {
        Elf64_Phdr dynamic = load_segment(&elf, i);
        uint64_t address, strings, end, first;
        if (dynamic.p_type != PT_DYNAMIC)
            continue;
        if (!range_is_inside(dynamic.p_offset, dynamic.p_filesz, elf.length))
            return false;
        if (!find_value(&elf, &dynamic, DT_NEEDED, &first))
            return true;
        return find_value(&elf, &dynamic, DT_STRTAB, &address) &&
               find_address(&elf, address, &strings, &end) &&
               read_names(&elf, &dynamic, strings, end, needed);
    }
    return true; /* linked statically */
}

/* --- what a module says --- */

static void read_entries(const struct elf *elf, const Elf64_Shdr *section,
                         void (*entry)(void *context, const char *text), void *context)
{
    uint64_t end = section->sh_offset + section->sh_size;
    for (uint64_t at = section->sh_offset; at < end;) {
        const char *text = string_at(elf, at, end);
        if (!text)
            return;
        if (*text)
            entry(context, text);
        at += strlen(text) + 1;
    }
}

bool elf_read_modinfo(const void *data, size_t length,
                      void (*entry)(void *context, const char *text), void *context)
{
    struct elf elf;
    if (!open_table(&elf, data, length, offsetof(Elf64_Ehdr, e_shoff),
                    offsetof(Elf64_Ehdr, e_shnum), sizeof(Elf64_Shdr)))
        return false;
    unsigned names_index = load_le16(elf.data + offsetof(Elf64_Ehdr, e_shstrndx));
    if (names_index >= elf.count)
        return false;
    Elf64_Shdr names = load_section(&elf, names_index);
    if (!range_is_inside(names.sh_offset, names.sh_size, elf.length))
        return false;
    for (unsigned i = 0; i < elf.count; i++) {
        Elf64_Shdr section = load_section(&elf, i);
        const char *name =
            string_at(&elf, names.sh_offset + section.sh_name, names.sh_offset + names.sh_size);
        if (section.sh_type != SHT_PROGBITS || !name || strcmp(name, ".modinfo") != 0)
            continue;
        if (!range_is_inside(section.sh_offset, section.sh_size, elf.length))
            return false;
        read_entries(&elf, &section, entry, context);
        return true;
    }
    return false;
}
