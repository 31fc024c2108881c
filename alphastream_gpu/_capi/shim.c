/* The C side of libalphastream. It starts the interpreter of the environment that the library was built for, without
 * using environment variables or the working directory. It handles calls without Python if they do not need Python.
 *
 * Strategy
 * --------
 * cffi could start an interpreter by itself. That interpreter would find its packages by environment variables, and
 * would print a traceback if it fails. So the interpreter is started here, in isolation. Everything that can be missing
 * is checked before cffi starts, so that cffi never prints an error.
 *
 * Signals belong to the host. While one of its threads is in the library, signals are blocked on that thread. Threads
 * that are started meanwhile inherit the blocked signals, and never receive one, not even the SIGPIPE of a closed
 * connection. Also, a signal handler that ends the process cannot do so in the middle of a call.
 *
 * A forked child has none of the interpreter's threads, and may have inherited locked locks. There every function fails
 * without calling anything. */

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

/* Settings of a host's thread, to be restored after a call. */
struct alphastream_thread_settings {
    sigset_t signals;
    int cancel;
};

/* While a host's thread is in the library, its signals are blocked. So is pthread_cancel, which would leave Python's
 * locks held. */
static void alphastream_enter(struct alphastream_thread_settings *before)
{
    sigset_t held;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancel);
    sigfillset(&held);
    for (size_t i = 0; i < sizeof alphastream_own_faults / sizeof *alphastream_own_faults; i++)
        sigdelset(&held, alphastream_own_faults[i]); /* blocked, these would kill the process */
    pthread_sigmask(SIG_SETMASK, &held, &before->signals);
}

static void alphastream_leave(const struct alphastream_thread_settings *before)
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
    /* The threads of streams that were not destroyed must end before the process's libraries are unloaded. */
    if (!atomic_load(&alphastream_is_forked) && atomic_load(&alphastream_state) == ALPHASTREAM_STARTED)
        alphastream_on_exit();
}

/* Print the current exception on one line, and clear it. */
static void alphastream_say_exception(const char *what)
{
    PyObject *type, *value, *trace;
    char text[512] = "?";
    PyErr_Fetch(&type, &value, &trace);
    PyObject *string = value ? PyObject_Str(value) : NULL;
    const char *utf8 = string ? PyUnicode_AsUTF8(string) : NULL;
    if (utf8 && *utf8)
        snprintf(text, sizeof text, "%s", utf8);
    else if (type) /* such as MemoryError, which has no message */
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

/* Whether file descriptors are left. Without them the interpreter prints a long error: it cannot read its files. */
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
    /* If this library was loaded with RTLD_LOCAL, so was libpython. Extension modules are not linked to libpython, and
     * would not find it. */
    if (!dlopen(alphastream_libpython, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD)) {
        alphastream_say("cannot make libpython's symbols global", dlerror());
        return false;
    }
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1; /* the host's paths are UTF-8 even if its locale is "C" */
    PyStatus status = Py_PreInitialize(&before);
    if (!PyStatus_Exception(status)) {
        PyConfig config;
        PyConfig_InitIsolatedConfig(&config);
        config.site_import = 0; /* imported later, when nothing is printed: .pth files may contain any code */
        config.write_bytecode = 0; /* a player must not write into the environment */
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
    PyEval_SaveThread(); /* the next call takes the GIL, on any thread */
    return true;
}

/* With the GIL held: add the builder's import paths, and try a first import. A failure prints one line. */
static bool alphastream_import(bool owns_interpreter)
{
    if (owns_interpreter) {
        PySys_SetObject("stdout", Py_None);
        PySys_SetObject("stderr", Py_None);
        PyObject *site = PyImport_ImportModule("site");
        PyObject *done = site ? PyObject_CallMethod(site, "main", NULL) : NULL;
        if (!done)
            PyErr_Clear(); /* the next import reports what is missing */
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
        atexit(alphastream_at_exit); /* otherwise the interpreter's own exit does this */
    return true;
}

/* Start the interpreter on the first call. Returns whether it runs. */
static bool alphastream_start(void)
{
    if (atomic_load(&alphastream_is_forked))
        return false;
    if (atomic_load(&alphastream_state) == ALPHASTREAM_UNTRIED) {
        struct alphastream_thread_settings before;
        pthread_once(&alphastream_fork_once, alphastream_register_fork); /* before a child could wait for a lock */
        alphastream_enter(&before);
        pthread_mutex_lock(&alphastream_starting);
        if (atomic_load(&alphastream_state) == ALPHASTREAM_UNTRIED)
            atomic_store(&alphastream_state, alphastream_start_once() ? ALPHASTREAM_STARTED : ALPHASTREAM_FAILED);
        pthread_mutex_unlock(&alphastream_starting);
        alphastream_leave(&before);
    }
    return atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}

/* Whether Python is to be asked about a handle. Before the first CV_create there are no handles. */
static bool alphastream_is_ready(const void *handle)
{
    return handle && !atomic_load(&alphastream_is_forked) && atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}

/* The error text for a handle that Python is not asked about. */
static const char *alphastream_why_not(void)
{
    return atomic_load(&alphastream_is_forked) ? "libalphastream does not work in a child of fork()"
                                               : "invalid handle";
}
