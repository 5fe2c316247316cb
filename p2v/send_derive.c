/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An agent's key that needs no place to be kept: made of the token, the server's key and what this
 * machine is, by HKDF (RFC 5869). A boot medium that lost its power comes back as the same agent.
 * docs/wire.md has the recipe.
 */
#include "base/own.h"
#include "base/text.h"
#include "formats/digest.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/agent/inventory_net.h"
#include "p2v/send_private.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#define INFO "rehost agent key 1"

/* --- what the machine is --- */

void send_take_mark(const json_t *inventory, char mark[MACHINE_MARK_SIZE])
{
    const json_t *dmi = json_object_get(inventory, "dmi");
    machine_mark_make(json_text_of(dmi, "uuid"), json_text_of(dmi, "serial"), mark);
}

/* Built in: an adapter on USB goes from machine to machine, and may be late. */
static bool is_built_in(const json_t *nic)
{
    return strcmp(json_text_of(nic, "mac_origin"), "permanent") == 0 &&
           strcmp(json_text_of(nic, "bus"), "usb") != 0 && json_text_of(nic, "bus")[0] &&
           !json_is_true(json_object_get(nic, "is_virtual_function"));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted: the kernel finds them in any order. Returns how many. */
static size_t add_macs(const json_t *nics, struct text *marks)
{
    const char *macs[NET_MAX_LINKS];
    size_t count = 0, i;
    const json_t *nic;
    json_array_foreach(nics, i, nic)
    {
        if (count < NET_MAX_LINKS && is_built_in(nic))
            macs[count++] = json_text_of(nic, "mac");
    }
    qsort(macs, count, sizeof(macs[0]), compare_texts);
    for (i = 0; i < count; i++)
        text_addf(marks, "%s\n", macs[i]);
    return count;
}

/* Firmware that was told who it is, or a system that has been installed. */
static bool has_identity(const char *root)
{
    char id[MACHINE_ID_SIZE];
    AUTO_FREE char *uuid = inventory_text(root, "/sys/class/dmi/id/product_uuid");
    AUTO_FREE char *serial = inventory_text(root, "/sys/class/dmi/id/product_serial");
    AUTO_FREE char *installed = inventory_text(root, "/etc/machine-id");
    machine_uuid_make(uuid, id);
    if (id[0] || installed[0])
        return true;
    machine_serial_make(serial, id);
    return id[0] != '\0';
}

char *send_machine_marks(const char *root, const json_t *nics)
{
    AUTO(text) marks = {0};
    AUTO_FREE char *machine = send_this_machine(root);
    text_add(&marks, machine);
    size_t count = add_macs(nics, &marks);
    return count > 0 || has_identity(root) ? text_take(&marks) : NULL;
}

/* A machine whose network cannot be asked for has no NICs. */
static char *marks_of_this_machine(void)
{
    AUTO_JSON inventory = json_object();
    struct net net = {0};
    if (net_read(&net, NULL) == 0)
        net_render(&net, "", inventory);
    net_fini(&net);
    return send_machine_marks("", json_object_get(inventory, "nics"));
}

/* --- the key --- */

static int derive(const char *token, const uint8_t pin[TLS_IDENTITY_SIZE], const char *marks,
                  uint8_t seed[TLS_SEED_SIZE])
{
    uint8_t info[sizeof(INFO) - 1 + DIGEST_SIZE];
    char digest[] = "SHA256";
    memcpy(info, INFO, sizeof(INFO) - 1);
    digest_compute(marks, strlen(marks), info + sizeof(INFO) - 1);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)token,
                                          strlen(token)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)pin,
                                          TLS_IDENTITY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
        OSSL_PARAM_construct_end(),
    };
    int result = context ? EVP_KDF_derive(context, seed, TLS_SEED_SIZE, parameters) : 0;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return result > 0 ? 0 : -1;
}

struct tls_identity *send_derive_identity(const char *token, const uint8_t pin[TLS_IDENTITY_SIZE],
                                          const char *marks, struct error *err)
{
    uint8_t seed[TLS_SEED_SIZE];
    struct tls_identity *identity = NULL;
    if (derive(token, pin, marks, seed) == 0)
        identity = tls_identity_of_seed(seed, err);
    else
        error_set(err, ENOTSUP, "make a key of the token");
    OPENSSL_cleanse(seed, sizeof(seed));
    return identity;
}

/*
 * Machines that cannot be told apart would be one agent, and each would end the other: they get a
 * key as if there were no token.
 */
struct tls_identity *send_choose_identity(struct send *send, const char *token,
                                          const uint8_t pin[TLS_IDENTITY_SIZE], const char *subject,
                                          struct error *err)
{
    const struct send_options *options = send->options;
    struct log *log = &send->log;
    if (!options->is_key_from_token || !token)
        return send_identity(options->state, pin, subject, log, err);
    AUTO_FREE char *machine = marks_of_this_machine();
    if (!machine) {
        log_warning(log, "nothing tells this machine from others (no UUID, serial number or MAC "
                         "address): after a restart it needs another token");
        return send_identity(options->state, pin, subject, log, err);
    }
    AUTO_FREE char *marks =
        text_format("%s%s", machine, send->is_this_machine || !subject ? "" : subject);
    return send_derive_identity(token, pin, marks, err);
}
