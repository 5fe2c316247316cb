/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unified diff of two texts by Myers' greedy algorithm ("An O(ND) Difference Algorithm", 1986).
 * The work is bounded: beyond DIFF_MAX_DISTANCE differing lines the middle is shown as replaced.
 */
#include "bootfix/plan.h"
#include "bootfix/span.h"

#include <stdlib.h>
#include <string.h>

#define DIFF_MAX_DISTANCE 1000
#define DIFF_CONTEXT 3

struct side {
    struct span *lines; /* with their newlines */
    size_t count;
};

enum op { OP_KEEP = ' ', OP_DELETE = '-', OP_INSERT = '+' };

static struct side split(const char *text)
{
    struct side side = {0};
    size_t count = 0;
    for (const char *at = text; *at; at++)
        count += *at == '\n';
    side.lines = memory_new(count + 1, sizeof(*side.lines));
    while (*text) {
        size_t length = strcspn(text, "\n");
        length += text[length] == '\n';
        side.lines[side.count++] = (struct span){text, length};
        text += length;
    }
    return side;
}

static bool is_same(const struct side *a, size_t i, const struct side *b, size_t k)
{
    const struct span *one = &a->lines[i], *other = &b->lines[k];
    return one->length == other->length && memcmp(one->start, other->start, one->length) == 0;
}

/*
 * Myers' search over the middle of both sides. v[k] is the furthest x on diagonal k = x - y; the
 * state before each step d is kept in trace[d], so that the path can be walked back.
 */
struct search {
    const struct side *a, *b;
    size_t start;          /* lines that are the same at the head of both */
    long a_count, b_count; /* lines in the middle */
    int *v;                /* DIFF_MAX_DISTANCE to both sides of the middle */
    int *trace[DIFF_MAX_DISTANCE + 1];
};

static int furthest_before(const int *v, long k, long d)
{
    bool is_down = k == -d || (k != d && v[k - 1] < v[k + 1]);
    return is_down ? v[k + 1] : v[k - 1] + 1;
}

static bool search_step(struct search *search, long d)
{
    int *v = search->v + DIFF_MAX_DISTANCE + 1;
    for (long k = -d; k <= d; k += 2) {
        long x = furthest_before(v, k, d), y = x - k;
        while (
            x < search->a_count && y >= 0 && y < search->b_count &&
            is_same(search->a, search->start + (size_t)x, search->b, search->start + (size_t)y)) {
            x++;
            y++;
        }
        v[k] = (int)x;
        if (x >= search->a_count && y >= search->b_count)
            return true;
    }
    return false;
}

/* The distance, or -1 when it is beyond the bound. */
static long search_forward(struct search *search)
{
    for (long d = 0; d <= DIFF_MAX_DISTANCE; d++) {
        size_t width = (size_t)(2 * d + 3);
        int *v = search->v + DIFF_MAX_DISTANCE + 1;
        search->trace[d] = memory_new(width, sizeof(int));
        memcpy(search->trace[d], v - d - 1, width * sizeof(int));
        if (search_step(search, d))
            return d;
    }
    return -1;
}

/* Writes the operations of the middle, last first, before `ops`; returns the first of them. */
static char *search_back(const struct search *search, long distance, char *ops)
{
    long x = search->a_count, y = search->b_count;
    for (long d = distance; d >= 0; d--) {
        const int *v = search->trace[d] + d + 1;
        long k = x - y;
        bool is_down = k == -d || (k != d && v[k - 1] < v[k + 1]);
        long previous_k = is_down ? k + 1 : k - 1;
        long previous_x = d == 0 ? 0 : v[previous_k];
        long previous_y = d == 0 ? 0 : previous_x - previous_k;
        while (x > previous_x && y > previous_y) {
            *--ops = OP_KEEP;
            x--;
            y--;
        }
        if (d > 0)
            *--ops = is_down ? OP_INSERT : OP_DELETE;
        x = previous_x;
        y = previous_y;
    }
    return ops;
}

/* The operations of the middle at the end of a buffer that ends at `end`. */
static char *search_middle(struct search *search, char *end)
{
    search->v = memory_new(2 * DIFF_MAX_DISTANCE + 3, sizeof(int));
    long distance = search_forward(search);
    char *ops = end;
    if (distance >= 0) {
        ops = search_back(search, distance, end);
    } else {
        ops -= search->a_count + search->b_count;
        memset(ops, OP_DELETE, (size_t)search->a_count);
        memset(ops + search->a_count, OP_INSERT, (size_t)search->b_count);
    }
    for (long d = 0; d <= DIFF_MAX_DISTANCE && search->trace[d]; d++)
        free(search->trace[d]);
    free(search->v);
    return ops;
}

/* One operation per line of the edit script; caller frees. */
static char *compare(const struct side *a, const struct side *b, size_t *count)
{
    size_t head = 0, tail = 0;
    while (head < a->count && head < b->count && is_same(a, head, b, head))
        head++;
    while (tail < a->count - head && tail < b->count - head &&
           is_same(a, a->count - 1 - tail, b, b->count - 1 - tail))
        tail++;
    struct search *search = memory_new(1, sizeof(*search));
    *search = (struct search){.a = a, .b = b, .start = head};
    search->a_count = (long)(a->count - head - tail);
    search->b_count = (long)(b->count - head - tail);
    size_t room = a->count + b->count;
    AUTO_FREE char *buffer = memory_new(room + 1, 1);
    char *middle = search_middle(search, buffer + room);
    free(search);
    size_t middle_count = (size_t)(buffer + room - middle);
    char *ops = memory_new(head + middle_count + tail + 1, 1);
    memset(ops, OP_KEEP, head + middle_count + tail);
    memcpy(ops + head, middle, middle_count);
    *count = head + middle_count + tail;
    return ops;
}

/* Tabs and backslashes are harmless and stay, so that patch finds the line again. */
static void add_line(struct text *out, char op, struct span line)
{
    bool has_newline = line.length && line.start[line.length - 1] == '\n';
    line.length -= has_newline;
    text_add_bytes(out, &op, 1);
    while (line.length) {
        size_t plain = 0;
        while (plain < line.length && line.start[plain] != '\t' && line.start[plain] != '\\')
            plain++;
        text_add_escaped(out, line.start, plain);
        line = span_skip(line, plain);
        if (line.length) {
            text_add_bytes(out, line.start, 1);
            line = span_skip(line, 1);
        }
    }
    text_add(out, has_newline ? "\n" : "\n\\ No newline at end of file\n");
}

static void add_range(struct text *out, char sign, size_t start, size_t count)
{
    /* an empty range is named by the line before it */
    text_addf(out, " %c%zu", sign, count ? start + 1 : start);
    if (count != 1)
        text_addf(out, ",%zu", count);
}

struct hunk {
    size_t first, end; /* operations */
    size_t a, b;       /* line numbers at its start, from 0 */
};

static void add_hunk(struct text *out, const struct hunk *hunk, const char *ops,
                     const struct side *before, const struct side *after)
{
    size_t a_count = 0, b_count = 0;
    for (size_t i = hunk->first; i < hunk->end; i++) {
        a_count += ops[i] != OP_INSERT;
        b_count += ops[i] != OP_DELETE;
    }
    text_add(out, "@@");
    add_range(out, '-', hunk->a, a_count);
    add_range(out, '+', hunk->b, b_count);
    text_add(out, " @@\n");
    size_t a = hunk->a, b = hunk->b;
    for (size_t i = hunk->first; i < hunk->end; i++) {
        add_line(out, ops[i], ops[i] == OP_INSERT ? after->lines[b] : before->lines[a]);
        a += ops[i] != OP_INSERT;
        b += ops[i] != OP_DELETE;
    }
}

/* The end of a hunk whose first change is at `from`: three kept lines behind its last change. */
static size_t hunk_end(const char *ops, size_t count, size_t from)
{
    size_t last = from;
    for (size_t i = from; i < count && i - last <= 2 * DIFF_CONTEXT + 1; i++)
        if (ops[i] != OP_KEEP)
            last = i;
    return last + 1 + DIFF_CONTEXT < count ? last + 1 + DIFF_CONTEXT : count;
}

static void add_hunks(struct text *out, const char *ops, size_t count, const struct side *before,
                      const struct side *after)
{
    size_t a = 0, b = 0, i = 0;
    while (i < count) {
        if (ops[i] == OP_KEEP) {
            i++;
            a++;
            b++;
            continue;
        }
        size_t lead = i < DIFF_CONTEXT ? i : DIFF_CONTEXT;
        struct hunk hunk = {i - lead, hunk_end(ops, count, i), a - lead, b - lead};
        add_hunk(out, &hunk, ops, before, after);
        for (; i < hunk.end; i++) {
            a += ops[i] != OP_INSERT;
            b += ops[i] != OP_DELETE;
        }
    }
}

void diff_unified(const char *path_before, const char *before, const char *path_after,
                  const char *after, struct text *out)
{
    before = before ? before : "";
    after = after ? after : "";
    if (strcmp(before, after) == 0)
        return;
    struct side a = split(before), b = split(after);
    size_t count;
    AUTO_FREE char *ops = compare(&a, &b, &count);
    text_addf(out, "--- %s\n+++ %s\n", path_before, path_after);
    add_hunks(out, ops, count, &a, &b);
    free(a.lines);
    free(b.lines);
}
