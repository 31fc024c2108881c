/* The C side of libalphastream: starts the interpreter of the environment that it was built for, with no help from variables or
 * the working directory, and keeps out of Python whatever needs no Python.
 *
 * Strategy
 * --------
 * cffi would start an interpreter by itself, but one that finds its packages by way of the environment's variables, and that
 * prints a traceback when it fails. So it is started here, in isolation, and all that can be missing is looked for before
 * cffi is let in: what it would print is then never printed.
 *
 * A forked child has none of the interpreter's threads, and perhaps its locks: there every function fails, and nothing is called. */

#include <dlfcn.h>
#include <pthread.h>
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

static void alphastream_say(const char *what, const char *which)
{
    fprintf(stderr, "libalphastream: %s%s%s; built for %s\n", what, which ? ": " : "", which ? which : "",
            alphastream_executable);
}

static void alphastream_after_fork(void)
{
    atomic_store(&alphastream_is_forked, true);
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
    if (utf8)
        snprintf(text, sizeof text, "%s", utf8);
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
static bool alphastream_import(void)
{
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
    if (!alphastream_files_are_there())
        return false;
    bool owns_interpreter = !Py_IsInitialized();
    if (owns_interpreter && !alphastream_start_interpreter())
        return false;
    PyGILState_STATE held = PyGILState_Ensure();
    bool is_imported = alphastream_import();
    PyGILState_Release(held);
    if (!is_imported)
        return false;
    alphastream_on_start(owns_interpreter);
    pthread_atfork(NULL, NULL, alphastream_after_fork);
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
        pthread_mutex_lock(&alphastream_starting);
        if (atomic_load(&alphastream_state) == ALPHASTREAM_UNTRIED)
            atomic_store(&alphastream_state, alphastream_start_once() ? ALPHASTREAM_STARTED : ALPHASTREAM_FAILED);
        pthread_mutex_unlock(&alphastream_starting);
    }
    return atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}

/* Whether a handle is worth asking Python about. Before the first CV_create there are none. */
static bool alphastream_is_ready(const void *handle)
{
    return handle && !atomic_load(&alphastream_is_forked) && atomic_load(&alphastream_state) == ALPHASTREAM_STARTED;
}
