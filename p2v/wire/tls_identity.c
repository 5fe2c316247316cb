/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A key, the self-signed certificate around it, its file, and the two OpenSSL contexts that use it.
 * The certificate is made anew from the key whenever it is needed: only the key is looked at.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/digest.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_LIMIT 16384

int tls_error_set(struct error *err, int errnum, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());

    ERR_clear_error();
    error_set(err, 0, "%s: %s", what, reason ? reason : "TLS failed");
    if (err)
        err->errnum = errnum;
    return -1;
}

int tls_key_hash(const X509 *certificate, uint8_t hash[TLS_IDENTITY_SIZE])
{
    unsigned char *encoded = NULL;
    int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);

    if (length <= 0)
        return -1;
    digest_compute(encoded, (size_t)length, hash);
    OPENSSL_free(encoded);
    return 0;
}

void tls_identity_free(struct tls_identity *identity)
{
    if (!identity)
        return;
    SSL_CTX_free(identity->client);
    SSL_CTX_free(identity->server);
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    own_free(&identity);
}

/* Ed25519 and Ed448 hash by themselves. */
static const EVP_MD *signing_digest(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : EVP_sha256();
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();

    if (!certificate)
        return NULL;
    X509_NAME *name = X509_get_subject_name(certificate);
    bool is_good = X509_set_version(certificate, X509_VERSION_3) &&
                   ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) &&
                   ASN1_TIME_set_string(X509_getm_notBefore(certificate), "19700101000000Z") &&
                   ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") &&
                   X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                              (const unsigned char *)"rehost", -1, -1, 0) &&
                   X509_set_issuer_name(certificate, name) && X509_set_pubkey(certificate, key) &&
                   X509_sign(certificate, key, signing_digest(key));
    if (is_good)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static const unsigned char alpn_list[] = {
    sizeof(WIRE_ALPN) - 1, 'r', 'e', 'h', 'o', 's', 't', '/', '1'};

static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_length,
                       const unsigned char *offered, unsigned int offered_length, void *context)
{
    unsigned char *found = NULL;

    (void)ssl;
    (void)context;
    if (SSL_select_next_proto(&found, chosen_length, alpn_list, sizeof(alpn_list), offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

/*
 * In place of the check of a chain of certificates: the other side proves later in the handshake
 * that it has the key, so all that is asked here is which key that is.
 */
static int check_peer_key(X509_STORE_CTX *store, void *context)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    X509 *certificate = X509_STORE_CTX_get0_cert(store);

    (void)context;
    if (!certificate || tls_key_hash(certificate, tls->peer_hash) != 0) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
        return 0;
    }
    if (tls->pin && memcmp(tls->peer_hash, tls->pin, TLS_IDENTITY_SIZE) != 0) {
        tls->is_wrong_pin = true;
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* Without instructions for AES, ChaCha20 is several times as fast; the server follows the client.
 */
static const char *ciphers(void)
{
#if defined(__x86_64__) || defined(__i386__)
    if (!__builtin_cpu_supports("aes"))
        return "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
#endif
    return "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
}

static SSL_CTX *make_context(const struct tls_identity *identity, bool is_server)
{
    SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());

    if (!context)
        return NULL;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB of a connection that waits */
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_max_cert_list(context, TLS_MAX_CERTIFICATES);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(context, check_peer_key, NULL);
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
    bool is_good =
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
        SSL_CTX_set_ciphersuites(context, ciphers()) && SSL_CTX_set_num_tickets(context, 0) &&
        SSL_CTX_use_certificate(context, identity->certificate) &&
        SSL_CTX_use_PrivateKey(context, identity->key) &&
        (is_server || SSL_CTX_set_alpn_protos(context, alpn_list, sizeof(alpn_list)) == 0);
    if (is_good)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* Takes the key, even on failure. */
static struct tls_identity *identity_of(EVP_PKEY *key, struct error *err)
{
    struct tls_identity *identity = memory_new(1, sizeof(*identity));

    identity->key = key;
    identity->certificate = make_certificate(key);
    if (identity->certificate) {
        identity->client = make_context(identity, false);
        identity->server = make_context(identity, true);
    }
    if (identity->client && identity->server &&
        tls_key_hash(identity->certificate, identity->hash) == 0)
        return identity;
    tls_error_set(err, EINVAL, "use a key for TLS");
    tls_identity_free(identity);
    return NULL;
}

struct tls_identity *tls_identity_new(struct error *err)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (key)
        return identity_of(key, err);
    tls_error_set(err, ENOTSUP, "make an Ed25519 key");
    return NULL;
}

struct tls_identity *tls_identity_of_seed(const uint8_t seed[TLS_SEED_SIZE], struct error *err)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed, TLS_SEED_SIZE);

    if (key)
        return identity_of(key, err);
    tls_error_set(err, ENOTSUP, "make an Ed25519 key");
    return NULL;
}

void tls_identity_hash(const struct tls_identity *identity, uint8_t hash[TLS_IDENTITY_SIZE])
{
    memcpy(hash, identity->hash, TLS_IDENTITY_SIZE);
}

/* OpenSSL would ask the terminal for the passphrase of an encrypted key. */
static int no_passphrase(char *buffer, int size, int is_writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static EVP_PKEY *parse_key(const char *data, size_t length, struct error *err)
{
    ERR_clear_error();
    BIO *memory = BIO_new_mem_buf(data, (int)length);
    EVP_PKEY *key = memory ? PEM_read_bio_PrivateKey(memory, NULL, no_passphrase, NULL) : NULL;

    BIO_free(memory);
    if (!key)
        tls_error_set(err, EINVAL, "no private key (PEM)");
    return key;
}

/* -1 with ENOENT when there is no such file. */
static int open_key(int folder_fd, const char *name, struct error *err)
{
    AUTO_CLOSE int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat stat;

    if (fd < 0)
        return error_set(err, errno, "open %s", name);
    if (fstat(fd, &stat) != 0)
        return error_set(err, errno, "stat %s", name);
    if (!S_ISREG(stat.st_mode) || stat.st_size > KEY_FILE_LIMIT)
        return error_set(err, EINVAL, "%s is no key file", name);
    if (stat.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(err, EPERM, "%s may be read or written by others (mode %03o, must be 600)",
                         name, (unsigned)stat.st_mode & 0777);
    return take_fd(&fd);
}

static struct tls_identity *read_identity(int fd, const char *name, struct error *err)
{
    char data[KEY_FILE_LIMIT];
    uint64_t size;
    EVP_PKEY *key = NULL;

    if (io_size(fd, &size, err) == 0 && size <= sizeof(data) &&
        io_read_at(fd, data, (size_t)size, 0, err) == 0)
        key = parse_key(data, (size_t)size, err);
    OPENSSL_cleanse(data, sizeof(data));
    struct tls_identity *identity = key ? identity_of(key, err) : NULL;
    if (!identity)
        error_wrap(err, "%s", name);
    return identity;
}

static int write_key(EVP_PKEY *key, int folder_fd, const char *name, struct error *err)
{
    ERR_clear_error();
    BIO *memory = BIO_new(BIO_s_secmem());
    char *data = NULL;
    int status = -1;

    if (memory && PEM_write_bio_PKCS8PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL)) {
        long length = BIO_get_mem_data(memory, &data);
        status = io_replace_file(folder_fd, name, data, (size_t)length, 0600, err);
    } else {
        tls_error_set(err, ENOMEM, "encode a private key");
    }
    BIO_free(memory); /* clears it */
    return status;
}

struct tls_identity *tls_identity_load(int folder_fd, const char *name, struct error *err)
{
    struct error local = {0};
    AUTO_CLOSE int fd = open_key(folder_fd, name, &local);

    if (fd >= 0)
        return read_identity(fd, name, err);
    if (local.errnum != ENOENT) {
        if (err)
            *err = local;
        return NULL;
    }
    AUTO_PTR(tls_identity) identity = tls_identity_new(err);
    if (!identity || write_key(identity->key, folder_fd, name, err) != 0)
        return NULL;
    return take_ptr(&identity);
}

void tls_pin_format(const uint8_t hash[TLS_IDENTITY_SIZE], char pin[TLS_PIN_SIZE])
{
    memcpy(pin, "sha256:", 7);
    bytes_format_hex(hash, TLS_IDENTITY_SIZE, pin + 7);
}

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

int tls_pin_parse(const char *pin, uint8_t hash[TLS_IDENTITY_SIZE], struct error *err)
{
    if (!text_starts_with(pin, "sha256:") || strlen(pin) != TLS_PIN_SIZE - 1)
        return error_set(err, EINVAL, "pin '%.80s' is not sha256: and 64 hexadecimal digits", pin);
    for (unsigned i = 0; i < TLS_IDENTITY_SIZE; i++) {
        int high = hexadecimal(pin[7 + 2 * i]), low = hexadecimal(pin[8 + 2 * i]);
        if (high < 0 || low < 0)
            return error_set(err, EINVAL, "pin '%.80s' has other than hexadecimal digits", pin);
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}
