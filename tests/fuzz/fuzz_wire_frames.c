/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every decoder of the wire's frames: the first byte is the type, the rest its payload. What is
 * accepted must be encoded to the same bytes again, within the type's bounds.
 */
#include "base/bytes.h"
#include "tests/lib/wire_again.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_header(const uint8_t *data)
{
    struct wire_header header;
    uint8_t again[WIRE_HEADER_SIZE];

    if (wire_header_decode(data, &header, NULL) != 0)
        return;
    wire_header_encode(&header, again);
    assert(memcmp(data, again, sizeof(again)) == 0);
    assert(header.length <= WIRE_MAX_PAYLOAD);
}

/* Another version's HELLO is only looked at as far as the version. */
static bool is_of_another_version(unsigned type, const uint8_t *payload)
{
    return type == WIRE_HELLO && load_le16(payload + 4) != WIRE_VERSION;
}

static bool is_same(unsigned type, const uint8_t *payload, size_t length, const uint8_t *again)
{
    if (type != WIRE_TOKEN)
        return length == 0 || memcmp(payload, again, length) == 0;
    for (size_t i = 0; i < length; i++) { /* in upper case */
        if ((payload[i] & 0xdf) != (again[i] & 0xdf))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= WIRE_HEADER_SIZE)
        try_header(data);
    wire_again_fn *again = size > 0 ? wire_again(data[0]) : NULL;
    if (!again)
        return 0;
    /* exactly as large as the payload, so that a read behind it is seen */
    uint8_t *payload = malloc(size - 1 ? size - 1 : 1);
    assert(payload);
    if (size > 1)
        memcpy(payload, data + 1, size - 1);
    struct error err = {0};
    struct text frame = {0};
    if (again(payload, size - 1, &frame, &err) != 0) {
        assert(err.text[0] != '\0' && err.errnum != 0);
    } else if (!is_of_another_version(data[0], payload)) {
        struct wire_header header;
        assert(frame.length == WIRE_HEADER_SIZE + size - 1);
        assert(wire_header_decode((uint8_t *)frame.data, &header, &err) == 0);
        assert(header.type == data[0] && header.length == size - 1);
        assert(is_same(data[0], payload, size - 1, (uint8_t *)frame.data + WIRE_HEADER_SIZE));
    }
    text_fini(&frame);
    free(payload);
    return 0;
}
