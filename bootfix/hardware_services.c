/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of services that cannot work in a guest. Not in it, on purpose: what also makes sense
 * there (mdadm, multipath, irqbalance, acpid, UPS clients) and what does nothing by itself.
 */
#include "bootfix/hardware_services.h"

#include <stddef.h>

static const char smart[] = "virtual disks have no S.M.A.R.T. data";
static const char memory[] = "memory errors are the host's to watch";
static const char sensors[] = "a virtual machine has no sensors and no fans";
static const char ipmi[] = "a virtual machine has no management controller (BMC)";
static const char vendor[] = "the vendor's agent finds none of its hardware";
static const char raid[] = "the RAID controller stays behind";
static const char graphics[] = "the graphics card stays behind";

const struct hardware_service hardware_services[] = {
    {"smartmontools", smart},
    {"smartd", smart},
    {"hddtemp", smart},

    {"mcelog", memory},
    {"rasdaemon", memory},
    {"ras-mc-ctl", memory},
    {"edac", memory},

    {"lm-sensors", sensors},
    {"lm_sensors", sensors},
    {"sensord", sensors},
    {"fancontrol", sensors},
    {"thermald", sensors},
    {"mbmon", sensors},
    {"i8kmon", sensors},

    {"openipmi", ipmi},
    {"ipmi", ipmi},
    {"ipmievd", ipmi},
    {"ipmidetectd", ipmi},
    {"ipmiseld", ipmi},
    {"ipmiutil_asy", ipmi},
    {"ipmiutil_evt", ipmi},
    {"ipmiutil_wdt", ipmi},
    {"bmc-watchdog", ipmi},
    {"bmc-snmp-proxy", ipmi},
    {"exchange-bmc-os-info", ipmi},

    /* HP, HPE */
    {"hp-health", vendor},
    {"hp-asrd", vendor},
    {"hp-ams", vendor},
    {"hp-snmp-agents", vendor},
    {"hpasmd", vendor},
    {"hpasm", vendor},
    {"hpsmhd", vendor},
    {"hpilo", vendor},
    {"cpqacuxe", vendor},
    {"amsd", vendor},
    {"ahslog", vendor},
    {"smad", vendor},
    {"cpqIde", vendor},
    {"cpqFca", vendor},
    {"cpqScsi", vendor},
    /* Dell */
    {"dataeng", vendor},
    {"dsm_om_connsvc", vendor},
    {"dsm_om_shrsvc", vendor},
    {"dsm_sa_datamgrd", vendor},
    {"dsm_sa_eventmgrd", vendor},
    {"dsm_sa_snmpd", vendor},
    {"instsvcdrv", vendor},
    {"dcismeng", vendor},
    {"srvadmin-services", vendor},
    /* IBM, Lenovo */
    {"ibmasm", vendor},
    {"ibm-director", vendor},
    {"platform_agent", vendor},
    /* Fujitsu */
    {"srvmagt", vendor},
    {"eecd", vendor},
    {"eecd_mods_src", vendor},
    /* Supermicro */
    {"superdoctor", vendor},
    {"sd5", vendor},

    {"megaraid-sas-status", raid},
    {"megaraid-sas-statusd", raid},
    {"megaraid-statusd", raid},
    {"megaraidsas-statusd", raid},
    {"mpt-statusd", raid},
    {"mpt2sas-statusd", raid},
    {"sas2ircu-statusd", raid},
    {"sas3ircu-statusd", raid},
    {"aacraid-statusd", raid},
    {"3ware-statusd", raid},
    {"3dm2", raid},
    {"cciss-vol-statusd", raid},
    {"vivaldiframeworkd", raid},
    {"lsi_mrdsnmpd", raid},
    {"stor_agent", raid},

    {"nvidia-persistenced", graphics},
    {"dcgm", graphics},
    {"nvidia-dcgm", graphics},

    {NULL, NULL},
};

const struct hardware_service *hardware_service_find(struct span name)
{
    for (const struct hardware_service *service = hardware_services; service->name; service++)
        if (span_is(name, service->name))
            return service;
    return NULL;
}
