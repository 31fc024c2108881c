/* The C side of libalphastream: starts the interpreter of the environment that it was built for, with no help from variables or
 * the working directory, and keeps out of Python whatever needs no Python.
 *
 * Strategy
 * --------
 * cffi would start an interpreter by itself, but one that finds its packages by way of the environment's variables, and that
 * prints a traceback when it fails. So it is started here, in isolation, and all that can be missing is looked for before
 * cffi is let in: what it would print is then never printed.
 *
 * Signals are the host's. While one of its threads is in here, they are held back, so that threads which are started meanwhile inherit
 * that and never take one, not even the SIGPIPE of a server that has gone; and so that a handler which ends the process does not
 * do so in the middle of a call.
 *
 * A forked child has none of the interpreter's threads, and perhaps its locks: there every function fails, and nothing is called. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALPHASTREAM_API __attribute__((visibility("default")))

enum { ALPHASTREAM_UNTRIED, ALPHASTREAM_STARTED, ALPHASTREAM_FAILED };

static pthread_mutex_t alphastream_starting = PTHREAD_MUTEX_INITIALIZER;
static atomic_int alphastream_state = ALPHASTREAM_UNTRIED;
static atomic_bool alphastream_is_forked = false;
static pthread_once_t alphastream_fork_once = PTHREAD_ONCE_INIT;
static const int alphastream_own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

static void alphastream_say(const char *what, const char *which)
{
    fprintf(stderr, "libalphastream: %s%s%s; built for %s\n", what, which ? ": " : "", which ? which : "",
            alphastream_executable);
}

static void alphastream_after_fork(void)
{
    atomic_store(&alphastream_is_forked, true);
}

struct alphastream_manners {
    sigset_t signals;
    int cancel;
};

/* While a host's thread is here, signals to it wait, and so does pthread_cancel, which would leave Python's locks held. */
static void alphastream_enter(struct alphastream_manners *before)
{
    sigset_t held;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancel);
    sigfillset(&held);
    for (size_t i = 0; i < sizeof alphastream_own_faults / sizeof *alphastream_own_faults; i++)
        sigdelset(&held, alphastream_own_faults[i]); /* to hold these back is to be killed by them */
    pthread_sigmask(SIG_SETMASK, &held, &before->signals);
}

static void alphastream_leave(const struct alphastream_manners *before)
{
    pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
    pthread_setcancelstate(before->cancel, NULL);
}

static void alphastream_register_fork(void)
{
    pthread_atfork(NULL, NULL, alphastream_after_fork);
}

static void alphastream_at_exit(void)
{
    /* Streams that nobody destroyed: their threads must end before the process's libraries do. */
    if (!atomic_load(&alphastream_is_forked) && atomic_load(&alphastream_state) == ALPHASTREAM_STARTED)
        alphastream_on_exit();
}

/* One line of an exception that is set, and none set any more. */
static void alphastream_say_exception(const char *what)
{
    PyObject *type, *value, *trace;
    char text[512] = "?";
    PyErr_Fetch(&type, &value, &trace);
    PyObject *string = value ? PyObject_Str(value) : NULL;
    const char *utf8 = string ? PyUnicode_AsUTF8(string) : NULL;
    if (utf8 && *utf8)
        snprintf(text, sizeof text, "%s", utf8);
    else if (type) /* such as MemoryError, which says nothing */
        snprintf(text, sizeof text, "%s", ((PyTypeObject *)type)->tp_name);
    text[strcspn(text, "\r\n")] = '\0';
    PyErr_Clear();
    Py_XDECREF(string);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    alphastream_say(what, text);
}

static bool alphastream_files_are_there(void)
{
    for (size_t i = 0; alphastream_needed_files[i]; i++)
        if (access(alphastream_needed_files[i], R_OK) != 0) {
            alphastream_say("missing", alphastream_needed_files[i]);
            return false;
        }
    return true;
}

/* Without these an interpreter says at length, on standard error, that it cannot read its files. */
static bool alphastream_has_descriptors(void)
{
    enum { NEEDED = 8 };
    int held[NEEDED], count = 0;
    while (count < NEEDED && (held[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    int error = errno;
    for (int i = 0; i < count; i++)
        close(held[i]);
    if (count < NEEDED)
        alphastream_say("no file can be opened", strerror(error));
    return count == NEEDED;
}

static bool alphastream_start_interpreter(void)
{
    /* Whoever loaded this library with RTLD_LOCAL loaded libpython so, too, and extension modules, which are not linked to it, would
     * not find it. */
    if (!dlopen(alphastream_libpython, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD)) {
        alphastream_say("the interpreter's library cannot be shared", dlerror());
        return false;
    }
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1; /* the host's locale may be "C", its paths are not */
    PyStatus status = Py_PreInitialize(&before);
    if (!PyStatus_Exception(status)) {
        PyConfig config;
        PyConfig_InitIsolatedConfig(&config);
        config.site_import = 0; /* done later, when nothing is printed any more: .pth files may hold anything */
        config.write_bytecode = 0; /* a player is no place to write into somebody's environment */
        status = PyConfig_SetBytesString(&config, &config.program_name, alphastream_executable);
        if (!PyStatus_Exception(status))
            status = PyConfig_SetBytesString(&config, &config.executable, alphastream_executable);
        if (!PyStatus_Exception(status))
            status = Py_InitializeFromConfig(&config);
        PyConfig_Clear(&config);
    }
    if (PyStatus_Exception(status)) {
        alphastream_say("the interpreter does not start", status.err_msg ? status.err_msg : "exit");
        return false;
    }
    PyEval_SaveThread(); /* whoever calls next takes the lock, on whatever thread */
    return true;
}

/* With Python's lock: the paths that the builder had, and a first import, whose failure is one line. */
static bool alphastream_import(bool owns_interpreter)
{
    if (owns_interpreter) {
        PySys_SetObject("stdout", Py_None);
        PySys_SetObject("stderr", Py_None);
        PyObject *site = PyImport_ImportModule("site");
        PyObject *done = site ? PyObject_CallMethod(site, "main", NULL) : NULL;
        if (!done)
            PyErr_Clear(); /* what is missing for that, the next import tells */
        Py_XDECREF(done);
        Py_XDECREF(site);
    }
    PyObject *path = PySys_GetObject("path");
    for (size_t i = 0; path && alphastream_search_paths[i]; i++) {
        PyObject *entry = PyUnicode_DecodeFSDefault(alphastream_search_paths[i]);
        if (!entry || (PySequence_Contains(path, entry) == 0 && PyList_Append(path, entry) != 0))
            PyErr_Clear();
        Py_XDECREF(entry);
    }
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    PyObject *entry = backend ? PyImport_ImportModule("alphastream_gpu._capi.entry") : NULL;
    bool is_imported = entry != NULL;
    if (!is_imported)
        alphastream_say_exception("the environment is incomplete");
    Py_XDECREF(backend);
    Py_XDECREF(entry);
    return is_imported;
}

static bool alphastream_start_once(void)
{
    if (!alphastream_has_descriptors() || !alphastream_files_are_there())
        return false;
    bool owns_interpreter = !Py_IsInitialized();
    if (owns_interpreter && !alphastream_start_interpreter())
        return false;
    PyGILState_STATE held = PyGILState_Ensure();
    bool is_imported = alphastream_import(owns_interpreter);
    PyGILState_Release(held);
    if (!is_imported)
        return false;
    alphastream_on_start(owns_interpreter);
    if (owns_interpreter)
        atexit(alphastream_at_exit); /* else the interpreter's own exit sees to it */
    return true;
}

/* Start the interpreter, the first time; whether there is one. */
static bool alphastream_start(void)
{
    if (atomic_load(&alphastream_is_forked))
        return false;
    if (atomic_load(&alphastream_state) == ALPHASTREAM_UNTRIED) {
        struct alphastream_manners before;
        pthread_once(&alphastream_fork_once, alphastream_register_fork); /* before anything that a child could wait for */
        alphastream_enter(&before);
        pthread_mutex_lock(&alphastream_starting);
        if (atomic_load(&alphastream_state) == ALPHASTREAM_UNTRIED)
            atomic_store(&alphastream_state, alphastream_start_once() ? ALPHASTREAM_STARTED : ALPHASTREAM_FAILED);
        pthread_mutex_unlock(&alphastream_starting);
        alphastream_leave(&before);
    }
    return atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}

/* Whether a handle is worth asking Python about. Before the first CV_create there are none. */
static bool alphastream_is_ready(const void *handle)
{
    return handle && !atomic_load(&alphastream_is_forked) && atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}

/* The error text of a handle that is not worth asking about. */
static const char *alphastream_why_not(void)
{
    return atomic_load(&alphastream_is_forked) ? "this is a child of fork(), where libalphastream does nothing"
                                               : "this is no handle of libalphastream";
}
