/* Seals and opens neighbouring segments of a run by one call: what `core/segments.py` does, and
 * explains, compiled. The two are tested against each other; this one is optional.
 *
 * The AEADs are libcrypto's. It is opened at import, by the few functions named below, which are
 * the same since OpenSSL 1.1: so its headers are not needed to compile, nor one certain version of
 * it to run. Python's stable ABI (3.11) is all that is used of Python.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

/* --- the wire, as in core/wire.py ------------------------------------------------------------ */

enum {
    HEADER_SIZE = 16,
    TAG_SIZE = 16,
    OVERHEAD = HEADER_SIZE + TAG_SIZE,
    NONCE_SIZE = 12,
    KEY_SIZE = 32,
    SEGMENT = 0x42,
    LAST_SEGMENT = 0x43,
};

/* --- inner packets, as in core/ip.py --------------------------------------------------------- */

enum {
    TCP = 6,
    UDP = 17,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    UDP_HEADER = 8,
    TCP_HEADER = 20,
    MOST_HEADER = 60 + 60, /* IPv4 and TCP, each with all the options it can have */
    LARGEST_PACKET = 65535,
};

/* --- libcrypto ------------------------------------------------------------------------------- */

typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;

enum { CTRL_GET_TAG = 0x10, CTRL_SET_TAG = 0x11 };

static EVP_CIPHER_CTX *(*new_context)(void);
static void (*free_context)(EVP_CIPHER_CTX *);
static const EVP_CIPHER *(*aes_256_gcm)(void);
static const EVP_CIPHER *(*chacha20_poly1305)(void);
static int (*begin)(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const uint8_t *, const uint8_t *,
                    int is_encrypting);
static int (*update)(EVP_CIPHER_CTX *, uint8_t *, int *, const uint8_t *, int);
static int (*finish)(EVP_CIPHER_CTX *, uint8_t *, int *);
static int (*control)(EVP_CIPHER_CTX *, int, int, void *);

static int open_libcrypto(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"};
    static const struct {
        const char *name;
        void *place;
    } functions[] = {
        {"EVP_CIPHER_CTX_new", &new_context},       {"EVP_CIPHER_CTX_free", &free_context},
        {"EVP_aes_256_gcm", &aes_256_gcm},          {"EVP_chacha20_poly1305", &chacha20_poly1305},
        {"EVP_CipherInit_ex", &begin},              {"EVP_CipherUpdate", &update},
        {"EVP_CipherFinal_ex", &finish},            {"EVP_CIPHER_CTX_ctrl", &control},
    };
    void *library = NULL;
    for (size_t i = 0; library == NULL && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (function == NULL)
            return -1;
        memcpy(functions[i].place, &function, sizeof function);
    }
    return 0;
}

/* --- big-endian numbers ---------------------------------------------------------------------- */

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }

static uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)(value >> 32));
    put32(at + 4, (uint32_t)value);
}

/* --- one datagram ---------------------------------------------------------------------------- */

static void make_nonce(uint8_t nonce[NONCE_SIZE], uint8_t path_id, uint64_t sequence)
{
    put32(nonce, path_id);
    put64(nonce + 4, sequence);
}

/* Encrypt `length` bytes behind a header in place, and put the tag behind them. */
static int seal_datagram(EVP_CIPHER_CTX *context, uint8_t *datagram, int length,
                         const uint8_t *nonce)
{
    int done;
    uint8_t *body = datagram + HEADER_SIZE;
    return begin(context, NULL, NULL, NULL, nonce, 1) == 1 &&
           update(context, NULL, &done, datagram, HEADER_SIZE) == 1 &&
           update(context, body, &done, body, length) == 1 &&
           finish(context, body + done, &done) == 1 &&
           control(context, CTRL_GET_TAG, TAG_SIZE, body + length) == 1;
}

/* Decrypt a datagram of `size` bytes into `plain`; false if its tag is wrong. */
static int open_datagram(EVP_CIPHER_CTX *context, const uint8_t *datagram, int size,
                         uint8_t *plain, const uint8_t *nonce)
{
    int done, length = size - OVERHEAD;
    const uint8_t *body = datagram + HEADER_SIZE;
    return begin(context, NULL, NULL, NULL, nonce, 0) == 1 &&
           control(context, CTRL_SET_TAG, TAG_SIZE, (void *)(body + length)) == 1 &&
           update(context, NULL, &done, datagram, HEADER_SIZE) == 1 &&
           update(context, plain, &done, body, length) == 1 &&
           finish(context, plain + done, &done) == 1;
}

/* --- headers of segments --------------------------------------------------------------------- */

static int length_position(const uint8_t *packet) { return packet[0] >> 4 == 4 ? 2 : 4; }

/* As `ip.header_length_untrusted`; 0 where that raises. */
static int header_length_of(const uint8_t *packet, int size)
{
    int transport, protocol, end;
    if (size < IPV4_HEADER)
        return 0;
    if (packet[0] >> 4 == 4) {
        transport = (packet[0] & 15) * 4;
        if (transport < IPV4_HEADER || get16(packet + 6) & 0x3fff)
            return 0;
        protocol = packet[9];
    } else if (packet[0] >> 4 == 6 && size >= IPV6_HEADER) {
        transport = IPV6_HEADER;
        protocol = packet[6];
    } else {
        return 0;
    }
    if (protocol == UDP) {
        end = transport + UDP_HEADER;
    } else if (protocol == TCP && size >= transport + TCP_HEADER) {
        end = transport + (packet[transport + 12] >> 4) * 4;
        if (end < transport + TCP_HEADER)
            return 0;
    } else {
        return 0;
    }
    return end <= size ? end : 0;
}

/* How many headers from the first on are those of neighbours. */
static int count_neighbours(const uint8_t *first, int64_t room, int size)
{
    uint32_t low = get32(first + 4);
    uint64_t tail = get64(first + 8);
    const uint64_t stamp = tail & ~UINT64_C(0xffffffffff);
    uint64_t number = tail >> 16 & 0xffffff;
    int count = 1;
    for (int64_t place = size; place + HEADER_SIZE <= room; place += size) {
        const uint8_t *there = first + place;
        number = (number + 1) & 0xffffff;
        if ((there[0] != SEGMENT && there[0] != LAST_SEGMENT) ||
            memcmp(there + 1, first + 1, 3) != 0 || get32(there + 4) != ++low ||
            get64(there + 8) != (stamp | number << 16 | 1))
            break;
        count++;
        if (there[0] == LAST_SEGMENT)
            break;
    }
    return count;
}

/* --- the object ------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    EVP_CIPHER_CTX *sealing;
    EVP_CIPHER_CTX *opening;
} RunCipher;

static EVP_CIPHER_CTX *make_context(const EVP_CIPHER *cipher, const uint8_t *key, int is_encrypting)
{
    EVP_CIPHER_CTX *context = new_context();
    if (context != NULL && begin(context, cipher, NULL, key, NULL, is_encrypting) != 1) {
        free_context(context);
        context = NULL;
    }
    return context;
}

static PyObject *create(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(named))
{
    int is_aes;
    const char *send, *receive;
    Py_ssize_t send_size, receive_size;
    if (!PyArg_ParseTuple(arguments, "py#y#", &is_aes, &send, &send_size, &receive, &receive_size))
        return NULL;
    if (send_size != KEY_SIZE || receive_size != KEY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "keys have 32 bytes");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    RunCipher *self = (RunCipher *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    const EVP_CIPHER *cipher = is_aes ? aes_256_gcm() : chacha20_poly1305();
    self->sealing = make_context(cipher, (const uint8_t *)send, 1);
    self->opening = make_context(cipher, (const uint8_t *)receive, 0);
    if (self->sealing == NULL || self->opening == NULL) {
        Py_DECREF(self);
        PyErr_SetString(PyExc_OSError, "libcrypto refuses this cipher");
        return NULL;
    }
    return (PyObject *)self;
}

static void destroy(PyObject *object)
{
    RunCipher *self = (RunCipher *)object;
    PyTypeObject *type = Py_TYPE(object);
    free_context(self->sealing);
    free_context(self->opening);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(seal_doc,
             "seal(session, view, start, packet, header_length, segment_size, offset, count,\n"
             "     path_id, sequence, number, distance, timestamp)\n--\n\n"
             "Lay out segments of a run as datagrams end to end, and seal them.");

static PyObject *seal(PyObject *object, PyObject *arguments)
{
    RunCipher *self = (RunCipher *)object;
    unsigned int session, number, distance, timestamp;
    unsigned char path_id;
    unsigned long long sequence;
    Py_buffer view, packet;
    Py_ssize_t start, header_length, segment_size, offset, count;
    if (!PyArg_ParseTuple(arguments, "Iw*ny*nnnnbKIII", &session, &view, &start, &packet,
                          &header_length, &segment_size, &offset, &count, &path_id, &sequence,
                          &number, &distance, &timestamp))
        return NULL;
    PyObject *result = NULL;
    const uint8_t *run = packet.buf;
    const Py_ssize_t payload = packet.len - header_length;
    if (header_length < IPV4_HEADER || header_length > MOST_HEADER || payload < 1 ||
        packet.len > LARGEST_PACKET || segment_size < 1 || offset < 0 || count < 1 ||
        count > payload || (count - 1) * segment_size + offset >= payload) {
        PyErr_SetString(PyExc_ValueError, "there are no such segments in this run");
        goto done;
    }
    Py_ssize_t end = offset + count * segment_size;
    if (end > payload)
        end = payload;
    if (start < 0 || start > view.len ||
        view.len - start < count * (OVERHEAD + header_length) + end - offset) {
        PyErr_SetString(PyExc_ValueError, "there is no room for these segments");
        goto done;
    }
    uint8_t *datagram = (uint8_t *)view.buf + start;
    uint8_t nonce[NONCE_SIZE];
    while (offset < end) {
        const Py_ssize_t size = end - offset < segment_size ? end - offset : segment_size;
        datagram[0] = offset + segment_size < payload ? SEGMENT : LAST_SEGMENT;
        datagram[1] = path_id;
        put16(datagram + 2, session);
        put32(datagram + 4, (uint32_t)sequence);
        put64(datagram + 8, (uint64_t)(timestamp & 0xffffff) << 40 |
                                (uint64_t)(number & 0xffffff) << 16 | (distance & 0xffff));
        uint8_t *body = datagram + HEADER_SIZE;
        memcpy(body, run, (size_t)header_length);
        put16(body + length_position(run), (uint32_t)offset);
        memcpy(body + header_length, run + header_length + offset, (size_t)size);
        make_nonce(nonce, path_id, sequence);
        if (!seal_datagram(self->sealing, datagram, (int)(header_length + size), nonce)) {
            PyErr_SetString(PyExc_OSError, "libcrypto cannot encrypt");
            goto done;
        }
        datagram = body + header_length + size + TAG_SIZE;
        offset += size;
        sequence++;
        number++;
        distance = 1;
    }
    result = Py_NewRef(Py_None);
done:
    PyBuffer_Release(&view);
    PyBuffer_Release(&packet);
    return result;
}

/* Open all into a new bytearray: one header, then the payloads. NULL without an exception set if
 * one is not authentic, or the plaintexts are not those of neighbours. */
static PyObject *open_all(RunCipher *self, const uint8_t *first, int64_t room, int size, int count,
                          uint64_t sequence, int *header_length, int *payload)
{
    const uint8_t path_id = first[1];
    uint8_t nonce[NONCE_SIZE], header[MOST_HEADER], covered[MOST_HEADER];
    const int plain = size - OVERHEAD;
    const int64_t begin_last = (int64_t)(count - 1) * size;
    const int64_t size_last = room - begin_last < size ? room - begin_last : size;
    if (plain < 1 || size_last <= OVERHEAD || (int64_t)count * plain > 2 * LARGEST_PACKET)
        return NULL;
    /* Room for all with their headers: what the datagrams say is not known to be true yet. And room
     * for the rest of the run, which is then appended without a copy of what is here. */
    const Py_ssize_t room_here = (Py_ssize_t)count * plain;
    PyObject *opened = PyByteArray_FromStringAndSize(
        NULL, room_here < LARGEST_PACKET ? LARGEST_PACKET : room_here);
    if (opened == NULL)
        return NULL;
    uint8_t *packet = (uint8_t *)PyByteArray_AsString(opened);
    make_nonce(nonce, path_id, sequence);
    if (!open_datagram(self->opening, first, size, packet, nonce))
        goto failed;
    const int length = *header_length = header_length_of(packet, plain);
    const int each = *payload = plain - length;
    const int last = (int)size_last - OVERHEAD - length;
    if (length == 0 || each <= 0 || last <= 0)
        goto failed;
    const int position = length_position(packet);
    const int64_t offset = get16(packet + position);
    const int64_t whole = length + (int64_t)(count - 1) * each + last;
    if (whole > LARGEST_PACKET || offset + whole > LARGEST_PACKET)
        goto failed;
    memcpy(header, packet, (size_t)length);
    /* The second header comes to lie on the end of the first payload, which is kept meanwhile. */
    const int kept = length < each ? length : each;
    memcpy(covered, packet + length + each - kept, (size_t)kept);
    /* Backwards: each header ends up where the payload before it is then put. */
    for (int index = count - 1; index > 0; index--) {
        uint8_t *place = packet + (int64_t)index * each;
        make_nonce(nonce, path_id, sequence + (uint64_t)index);
        if (!open_datagram(self->opening, first + (int64_t)index * size,
                           index == count - 1 ? (int)size_last : size, place, nonce))
            goto failed;
        put16(header + position, (uint32_t)(offset + (int64_t)index * each));
        if (memcmp(place, header, (size_t)length) != 0)
            goto failed;
    }
    if (count > 1) {
        put16(header + position, (uint32_t)offset);
        memcpy(packet, header, (size_t)length);
        memcpy(packet + length + each - kept, covered, (size_t)kept);
    }
    if (PyByteArray_Resize(opened, (Py_ssize_t)whole) < 0)
        goto failed;
    return opened;
failed:
    Py_DECREF(opened);
    return NULL;
}

PyDoc_STRVAR(open_doc,
             "open_untrusted(view, start, size, sequence)\n--\n\n"
             "Open datagrams that lie end to end and claim to be neighbouring segments of one\n"
             "run; return how many they are, and None, or header and payloads, the length of the\n"
             "header, and that of each payload but perhaps the last.");

static PyObject *open_untrusted(PyObject *object, PyObject *arguments)
{
    RunCipher *self = (RunCipher *)object;
    Py_buffer view;
    Py_ssize_t start, size;
    unsigned long long sequence;
    if (!PyArg_ParseTuple(arguments, "y*nnK", &view, &start, &size, &sequence))
        return NULL;
    PyObject *result = NULL;
    if (start < 0 || size < HEADER_SIZE || size > LARGEST_PACKET || start > view.len ||
        view.len - start < size) {
        PyErr_SetString(PyExc_ValueError, "there is no such datagram");
        goto done;
    }
    const uint8_t *first = (const uint8_t *)view.buf + start;
    const int64_t room = view.len - start;
    const int count = count_neighbours(first, room, (int)size);
    PyObject *opened = NULL;
    int header_length = 0, payload = 0;
    if (count > 1)
        opened = open_all(self, first, room, (int)size, count, sequence, &header_length, &payload);
    if (opened != NULL)
        result = Py_BuildValue("iNii", count, opened, header_length, payload);
    else if (!PyErr_Occurred())
        result = Py_BuildValue("iOii", count, Py_None, 0, 0);
done:
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef methods[] = {
    {"seal", seal, METH_VARARGS, seal_doc},
    {"open_untrusted", open_untrusted, METH_VARARGS, open_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(type_doc, "RunCipher(is_aes, key_to_send, key_to_receive)\n--\n\n"
                       "Seals and opens segments of runs under one pair of keys.");

static PyType_Slot slots[] = {
    {Py_tp_new, create},
    {Py_tp_dealloc, destroy},
    {Py_tp_methods, methods},
    {Py_tp_doc, (void *)type_doc},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "multiwanbond.native.run_cipher.RunCipher",
    .basicsize = sizeof(RunCipher),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "run_cipher",
    .m_doc = "Seals and opens neighbouring segments of a run by one call.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit_run_cipher(void)
{
    if (open_libcrypto() < 0) {
        PyErr_SetString(PyExc_ImportError, "there is no usable libcrypto");
        return NULL;
    }
    PyObject *made = PyModule_Create(&module);
    if (made == NULL)
        return NULL;
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObjectRef(made, "RunCipher", type) < 0) {
        Py_XDECREF(type);
        Py_DECREF(made);
        return NULL;
    }
    Py_DECREF(type);
    return made;
}
