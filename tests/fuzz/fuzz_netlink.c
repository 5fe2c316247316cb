/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel's answers about the network, as if they came from somebody else, and their JSON.
 */
#include "base/own.h"
#include "p2v/agent/inventory_net.h"
#include "p2v/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(net) net = {0};
    AUTO_JSON json = json_object();
    uint8_t *aligned = malloc(size + 1);
    if (!aligned)
        abort();
    memcpy(aligned, data, size);
    net_decode(&net, aligned, size);
    free(aligned);
    net_render(&net, "/nonexistent", json);
    char *text = json_dumps(json, 0);
    if (!text) /* what is no UTF-8 was not escaped */
        abort();
    free(text);
    return 0;
}
