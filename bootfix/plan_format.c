/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A plan for people: a unified diff, fixer by fixer, with the reason of each edit.
 */
#include "bootfix/plan.h"

#include <string.h>

/* "a/etc/fstab", or /dev/null for what is not there. */
static char *diff_name(const char *side, const char *path, bool is_there)
{
    if (!is_there)
        return text_copy("/dev/null");
    AUTO(text) name = {0};
    text_add(&name, side);
    text_add_escaped(&name, path, strlen(path));
    return text_take(&name);
}

/*
 * Links are shown as git does, which GNU patch understands: the "contents" are the target. What was
 * another kind of file is shown as removed first.
 */
static void add_link_header(const struct edit *edit, bool is_new, struct text *out)
{
    AUTO_FREE char *from = diff_name("a", edit->path, true);
    AUTO_FREE char *to = diff_name("b", edit->path, true);
    text_addf(out, "diff --git %s %s\n%s file mode 120000\n", from, to, is_new ? "new" : "deleted");
}

static void format_link(const struct edit *edit, const char *target, bool is_new, struct text *out)
{
    AUTO_FREE char *from = diff_name("a", edit->path, !is_new);
    AUTO_FREE char *to = diff_name("b", edit->path, is_new);
    add_link_header(edit, is_new, out);
    diff_unified(from, is_new ? NULL : target, to, is_new ? target : NULL, out);
}

static void format_before_removed(const struct edit *edit, struct text *out)
{
    if (edit->was_link) {
        format_link(edit, edit->before, false, out);
        return;
    }
    AUTO_FREE char *from = diff_name("a", edit->path, true);
    if (edit->before && edit->before[0])
        diff_unified(from, edit->before, "/dev/null", NULL, out);
    else
        text_addf(out, "# %s is removed: it is empty, or not text\n", from + 1);
}

static void format_edit(const struct edit *edit, struct text *out)
{
    AUTO_FREE char *from = diff_name("a", edit->path, edit->before != NULL);
    AUTO_FREE char *to = diff_name("b", edit->path, true);
    switch (edit->kind) {
    case EDIT_WRITE:
        diff_unified(from, edit->before, to, edit->after, out);
        break;
    case EDIT_APPEND:
        text_addf(out, "# %s: an archive of %zu bytes is appended\n", to + 1, edit->after_length);
        break;
    case EDIT_REMOVE:
        format_before_removed(edit, out);
        break;
    case EDIT_COPY:
        text_addf(out, "# %s: a copy of ", to + 1);
        text_add_escaped(out, edit->after, edit->after_length);
        text_add(out, "\n");
        break;
    case EDIT_SYMLINK:
        if (edit->before)
            format_before_removed(edit, out);
        format_link(edit, edit->after, true, out);
        break;
    }
}

static bool is_first_of_fixer(const struct plan *plan, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(plan->edits[i].fixer, plan->edits[index].fixer) == 0)
            return false;
    return true;
}

void plan_format_diff(const struct plan *plan, struct text *out)
{
    for (size_t i = 0; i < plan->edit_count; i++) {
        if (!is_first_of_fixer(plan, i))
            continue;
        for (size_t k = i; k < plan->edit_count; k++) {
            const struct edit *edit = &plan->edits[k];
            if (strcmp(edit->fixer, plan->edits[i].fixer) != 0)
                continue;
            text_addf(out, "# %s: ", edit->fixer);
            text_add_escaped(out, edit->reason, strlen(edit->reason));
            text_add(out, "\n");
            format_edit(edit, out);
        }
    }
}
