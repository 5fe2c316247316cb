/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest.json from anywhere. What is taken must be valid, must come back the same from its own
 * text, and must be rendered by every target or refused.
 */
#include "formats/guest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void render_all(const struct guest *guest)
{
    for (size_t i = 0; guest_targets[i] != NULL; i++) {
        struct error err = {0};
        AUTO(text) out = {0};

        if (guest_targets[i]->render(guest, "/srv/guest", &out, &err) < 0)
            require(err.text[0] != 0);
        else
            require(strlen(text_string(&out)) == out.length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse((const char *)data, size, true, &err);
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *again = NULL;

    if (guest == NULL) {
        require(err.text[0] != 0);
        return 0;
    }
    text = guest_format(guest, &err);
    require(text != NULL);
    AUTO_PTR(guest) copy = guest_parse(text, strlen(text), true, &err);
    require(copy != NULL);
    again = guest_format(copy, &err);
    require(again != NULL && strcmp(text, again) == 0);
    render_all(guest);
    return 0;
}
