/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Services for hardware that stays behind (hardware_services.c) are disabled as their distribution
 * would do it: a systemd unit loses the links that start it, a script of System V keeps its links
 * but as K instead of S. The unit is masked only where a package itself has it started. Nothing is
 * uninstalled, and `systemctl enable`, `unmask` or `update-rc.d enable` undo it.
 */
#include "bootfix/fixer.h"
#include "bootfix/hardware_services.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME "services"
#define UNITS "/etc/systemd/system"
#define MAX_FOLDERS 256

static const char *const packaged_units[] = {"/usr/lib/systemd/system", "/lib/systemd/system"};

/* "smartmontools.service": its entry in the table, else NULL. */
static const struct hardware_service *find_unit(const char *file)
{
    static const char suffix[] = ".service";
    if (!text_ends_with(file, suffix))
        return NULL;
    return hardware_service_find((struct span){file, strlen(file) - strlen(suffix)});
}

static int remove_link(struct fix_context *context, const char *folder, const char *name,
                       const struct hardware_service *service, struct error *err)
{
    AUTO_FREE char *path = text_format("%s/%s", folder, name);
    AUTO_FREE char *target = NULL;
    int found = plan_readlink(context->plan, path, &target, err);
    if (found != 1 || strcmp(target, "/dev/null") == 0) /* masked already */
        return found < 0 ? -1 : 0;
    AUTO_FREE char *reason = text_format("%s: %s is disabled", service->why, name);
    return plan_remove(context->plan, NAME, path, reason, err);
}

/* Each link in a .wants or .requires folder starts a unit. */
static int clear_folder(struct fix_context *context, const char *folder, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i]; i++) {
        const struct hardware_service *service = find_unit(names[i]);
        if (service)
            result = remove_link(context, folder, names[i], service, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

static bool is_start_folder(const char *name)
{
    return text_ends_with(name, ".wants") || text_ends_with(name, ".requires");
}

/* Aliases (smartd.service leads to smartmontools.service) lie in the folder itself. */
static int plan_enablement(struct fix_context *context, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, UNITS, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i] && i < MAX_FOLDERS; i++) {
        AUTO_FREE char *path = text_format("%s/%s", UNITS, names[i]);
        const struct hardware_service *service = find_unit(names[i]);
        if (is_start_folder(names[i]))
            result = clear_folder(context, path, err);
        else if (service)
            result = remove_link(context, UNITS, names[i], service, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

static int mask(struct fix_context *context, const char *unit,
                const struct hardware_service *service, struct error *err)
{
    AUTO_FREE char *path = text_format("%s/%s", UNITS, unit);
    AUTO_FREE char *reason = text_format(
        "%s: %s is masked, because its package starts it by itself", service->why, unit);
    return plan_symlink(context->plan, NAME, path, "/dev/null", reason, err);
}

static int mask_started(struct fix_context *context, const char *folder, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i]; i++) {
        const struct hardware_service *service = find_unit(names[i]);
        if (service)
            result = mask(context, names[i], service, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

/* Packages may bring the links themselves; those come back with the next upgrade. */
static int plan_masks(struct fix_context *context, const char *units, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, units, &names, err);
    size_t folders = 0;
    for (size_t i = 0; result >= 0 && names && names[i] && folders < MAX_FOLDERS; i++) {
        if (!is_start_folder(names[i]))
            continue;
        AUTO_FREE char *path = text_format("%s/%s", units, names[i]);
        folders++;
        result = mask_started(context, path, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

/* systemd ignores a script of System V that has a unit of the same name. */
static bool has_unit(struct fix_context *context, const char *service)
{
    if (!context->system->has_systemd)
        return false;
    for (size_t i = 0; i < sizeof(packaged_units) / sizeof(packaged_units[0]); i++) {
        AUTO_FREE char *path = text_format("%s/%s.service", packaged_units[i], service);
        if (plan_exists(context->plan, path))
            return true;
    }
    return false;
}

/* "S20smartmontools" is started at 20; disabled it is K80smartmontools, as update-rc.d does. */
static int stop_script(struct fix_context *context, const char *folder, const char *name,
                       struct error *err)
{
    unsigned order;
    const char *service_name = name + 3;
    const struct hardware_service *service =
        hardware_service_find((struct span){service_name, strlen(service_name)});
    if (!service || !span_number((struct span){name + 1, 2}, &order) ||
        has_unit(context, service_name))
        return 0;
    AUTO_FREE char *start = text_format("%s/%s", folder, name);
    AUTO_FREE char *stop = text_format("%s/K%02u%s", folder, (100 - order) % 100, service_name);
    AUTO_FREE char *reason = text_format("%s: %s is disabled", service->why, service_name);
    AUTO_FREE char *target = NULL;
    int found = plan_readlink(context->plan, start, &target, err);
    if (found != 1)
        return found;
    if (plan_remove(context->plan, NAME, start, reason, err) < 0)
        return -1;
    return plan_symlink(context->plan, NAME, stop, target, reason, err);
}

static int plan_scripts(struct fix_context *context, const char *folder, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i]; i++)
        if (names[i][0] == 'S' && strlen(names[i]) > 3)
            result = stop_script(context, folder, names[i], err);
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

static int plan_services(struct fix_context *context, struct error *err)
{
    static const char levels[] = "2345S";
    if (context->system->has_systemd) {
        if (plan_enablement(context, err) < 0 || plan_masks(context, packaged_units[0], err) < 0)
            return -1;
        /* /lib is a folder of its own before the merge of /usr, and the same one after it */
        AUTO_FREE char *link = NULL;
        int is_merged = plan_readlink(context->plan, "/lib", &link, err);
        if (is_merged < 0 || (!is_merged && plan_masks(context, packaged_units[1], err) < 0))
            return -1;
    }
    for (const char *level = levels; *level; level++) {
        AUTO_FREE char *folder = text_format("/etc/rc%c.d", *level);
        if (plan_scripts(context, folder, err) < 0)
            return -1;
    }
    return 0;
}

static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0;
}

const struct fixer fix_services = {
    .name = NAME,
    .description = "services for hardware that stays behind (S.M.A.R.T., IPMI, RAID, vendor "
                   "agents) disabled",
    .applies = applies,
    .plan = plan_services,
};
