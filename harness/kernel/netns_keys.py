"""The sysctls that belong to one network namespace, each table with its source in the kernel.

A key that exists and is writable in a network namespace may still change the whole machine, and the only way to find
out is to write it. So only the keys in this list are ever written (sysctls.py). A key is in the list if its table
points to data of the namespace (`init_net` plus an offset, or an assignment in the table's `pernet_operations.init`)
and its handler changes nothing else. The list was made from Linux 6.1 and 6.13 and the patches that added later keys;
keys of newer kernels are added after reading their handlers.
"""

_NEIGHBOUR = """
    anycast_delay app_solicit base_reachable_time base_reachable_time_ms delay_first_probe_time gc_stale_time
    interval_probe_time_ms locktime mcast_resolicit mcast_solicit proxy_delay proxy_qlen retrans_time
    retrans_time_ms ucast_solicit unres_qlen unres_qlen_bytes
"""

# In a folder, * stands for the name of an interface, or all, or default.
_KEYS = {
    # net/core/sysctl_net_core.c, netns_core_table; net/xfrm/xfrm_sysctl.c, xfrm_table
    "net.core": """
        optmem_max somaxconn tstamp_allow_data txrehash xfrm_acq_expires xfrm_aevent_etime
        xfrm_aevent_rseqth xfrm_larval_drop
    """,
    # net/unix/sysctl_net_unix.c, unix_table
    "net.unix": "max_dgram_qlen",
    # net/ipv4/sysctl_net_ipv4.c, ipv4_net_table; ip_fragment.c, ip4_frags_ns_ctl_table; xfrm4_policy.c; devinet.c
    "net.ipv4": """
        fib_multipath_hash_fields fib_multipath_hash_policy fib_multipath_hash_seed fib_multipath_use_neigh
        fib_notify_on_flag_change fwmark_reflect icmp_echo_enable_probe icmp_echo_ignore_all
        icmp_echo_ignore_broadcasts icmp_errors_use_inbound_ifaddr icmp_ignore_bogus_error_responses icmp_msgs_burst
        icmp_msgs_per_sec icmp_ratelimit icmp_ratemask igmp_link_local_mcast_reports igmp_max_memberships
        igmp_max_msf igmp_qrv ip_autobind_reuse ip_default_ttl ip_dynaddr ip_early_demux ip_forward
        ip_forward_update_priority ip_forward_use_pmtu ip_local_port_range ip_local_reserved_ports ip_no_pmtu_disc
        ip_nonlocal_bind ip_unprivileged_port_start ipfrag_high_thresh ipfrag_low_thresh ipfrag_max_dist ipfrag_time
        nexthop_compat_mode ping_group_range raw_l3mdev_accept tcp_abort_on_overflow tcp_adv_win_scale tcp_app_win
        tcp_autocorking tcp_backlog_ack_defer tcp_base_mss tcp_challenge_ack_limit tcp_child_ehash_entries
        tcp_comp_sack_delay_ns tcp_comp_sack_nr tcp_comp_sack_slack_ns tcp_congestion_control tcp_dsack
        tcp_early_demux tcp_early_retrans tcp_ecn tcp_ecn_fallback tcp_ecn_option tcp_ecn_option_beacon tcp_fack
        tcp_fastopen tcp_fastopen_blackhole_timeout_sec tcp_fastopen_key tcp_fin_timeout tcp_frto tcp_fwmark_accept
        tcp_invalid_ratelimit tcp_keepalive_intvl tcp_keepalive_probes tcp_keepalive_time tcp_l3mdev_accept
        tcp_limit_output_bytes tcp_max_reordering tcp_max_syn_backlog tcp_max_tw_buckets tcp_migrate_req
        tcp_min_rtt_wlen tcp_min_snd_mss tcp_min_tso_segs tcp_moderate_rcvbuf tcp_mtu_probe_floor tcp_mtu_probing
        tcp_no_metrics_save tcp_no_ssthresh_metrics_save tcp_notsent_lowat tcp_orphan_retries tcp_pacing_ca_ratio
        tcp_pacing_ss_ratio tcp_pingpong_thresh tcp_plb_cong_thresh tcp_plb_enabled tcp_plb_idle_rehash_rounds
        tcp_plb_rehash_rounds tcp_plb_suspend_rto_sec tcp_probe_interval tcp_probe_threshold tcp_recovery
        tcp_reflect_tos tcp_reordering tcp_retrans_collapse tcp_retries1 tcp_retries2 tcp_rfc1337 tcp_rmem
        tcp_rto_max_ms tcp_rto_min_us tcp_sack tcp_shrink_window tcp_slow_start_after_idle tcp_stdurg
        tcp_syn_linear_timeouts tcp_syn_retries tcp_synack_retries tcp_syncookies tcp_thin_linear_timeouts
        tcp_timestamps tcp_tso_rtt_log tcp_tso_win_divisor tcp_tw_reuse tcp_tw_reuse_delay tcp_window_scaling
        tcp_wmem tcp_workaround_signed_windows udp_child_hash_entries udp_early_demux udp_l3mdev_accept udp_rmem_min
        udp_wmem_min xfrm4_gc_thresh
    """,
    # net/ipv4/route.c, ipv4_route_netns_table
    "net.ipv4.route": "flush min_adv_mss min_pmtu mtu_expires",
    # net/ipv4/devinet.c, devinet_sysctl
    "net.ipv4.conf.*": """
        accept_local accept_redirects accept_source_route arp_accept arp_announce arp_evict_nocarrier arp_filter
        arp_ignore arp_notify bc_forwarding bootp_relay disable_policy disable_xfrm drop_gratuitous_arp
        drop_unicast_in_l2_multicast force_igmp_version forwarding igmpv2_unsolicited_report_interval
        igmpv3_unsolicited_report_interval ignore_routes_with_linkdown log_martians medium_id promote_secondaries
        proxy_arp proxy_arp_pvlan route_localnet rp_filter secure_redirects send_redirects shared_media
        src_valid_mark tag
    """,
    # net/core/neighbour.c, neigh_sysctl_template, without the table's own gc_*
    "net.ipv4.neigh.*": _NEIGHBOUR,
    # net/netfilter/ipvs/ip_vs_ctl.c, vs_vars; ip_vs_lblc.c and ip_vs_lblcr.c, vs_vars_table
    "net.ipv4.vs": """
        am_droprate amemthresh backup_only cache_bypass conn_reuse_mode conntrack drop_entry drop_packet
        expire_nodest_conn expire_quiescent_template ignore_tunneled lblc_expiration lblcr_expiration nat_icmp_send
        pmtu_disc run_estimation schedule_icmp secure_tcp sloppy_sctp sloppy_tcp snat_reroute sync_persist_mode
        sync_ports sync_qlen_max sync_refresh_period sync_retries sync_sock_size sync_threshold sync_version
    """,
    # net/ipv6/sysctl_net_ipv6.c, ipv6_table_template; reassembly.c, ip6_frags_ns_ctl_table; xfrm6_policy.c
    "net.ipv6": """
        anycast_src_echo_reply auto_flowlabels bindv6only fib_multipath_hash_fields fib_multipath_hash_policy
        fib_notify_on_flag_change flowlabel_consistency flowlabel_reflect flowlabel_state_ranges fwmark_reflect
        idgen_delay idgen_retries ioam6_id ioam6_id_wide ip6frag_high_thresh ip6frag_low_thresh ip6frag_time
        ip_nonlocal_bind max_dst_opts_length max_dst_opts_number max_hbh_length max_hbh_opts_number seg6_flowlabel
        xfrm6_gc_thresh
    """,
    # net/ipv6/icmp.c, ipv6_icmp_table_template
    "net.ipv6.icmp": """
        echo_ignore_all echo_ignore_anycast echo_ignore_multicast error_anycast_as_unicast ratelimit ratemask
    """,
    # net/ipv6/route.c, ipv6_route_table_template
    "net.ipv6.route": """
        flush gc_elasticity gc_interval gc_min_interval gc_min_interval_ms gc_thresh gc_timeout max_size min_adv_mss
        mtu_expires skip_notify_on_dev_down
    """,
    # net/ipv6/addrconf.c, addrconf_sysctl
    "net.ipv6.conf.*": """
        accept_dad accept_ra accept_ra_defrtr accept_ra_from_local accept_ra_min_hop_limit accept_ra_min_lft
        accept_ra_mtu accept_ra_pinfo accept_ra_rt_info_max_plen accept_ra_rt_info_min_plen accept_ra_rtr_pref
        accept_redirects accept_source_route accept_untracked_na addr_gen_mode autoconf dad_transmits disable_ipv6
        disable_policy drop_unicast_in_l2_multicast drop_unsolicited_na enhanced_dad force_forwarding
        force_mld_version force_tllao forwarding hop_limit ignore_routes_with_linkdown ioam6_enabled ioam6_id
        ioam6_id_wide keep_addr_on_down max_addresses max_desync_factor mldv1_unsolicited_report_interval
        mldv2_unsolicited_report_interval mtu ndisc_evict_nocarrier ndisc_notify ndisc_tclass optimistic_dad
        proxy_ndp ra_defrtr_metric ra_honor_pio_life ra_honor_pio_pflag regen_max_retry regen_min_advance
        router_probe_interval router_solicitation_delay router_solicitation_interval
        router_solicitation_max_interval router_solicitations rpl_seg_enabled seg6_enabled seg6_require_hmac
        stable_secret suppress_frag_ndisc temp_prefered_lft temp_valid_lft use_oif_addrs_only use_optimistic
        use_tempaddr
    """,
    "net.ipv6.neigh.*": _NEIGHBOUR,
    # net/mptcp/ctrl.c, mptcp_sysctl_table
    "net.mptcp": """
        add_addr_timeout add_addr_v6_port_drop_ts allow_join_initial_addr_port blackhole_timeout checksum_enabled
        close_timeout enabled path_manager pm_type scheduler stale_loss_cnt syn_retrans_before_tcp_fallback
    """,
    # net/netfilter/nf_conntrack_standalone.c, nf_ct_sysctl_table; net/ipv6/netfilter/nf_conntrack_reasm.c
    "net.netfilter": """
        nf_conntrack_acct nf_conntrack_checksum nf_conntrack_dccp_loose nf_conntrack_dccp_timeout_closereq
        nf_conntrack_dccp_timeout_closing nf_conntrack_dccp_timeout_open nf_conntrack_dccp_timeout_partopen
        nf_conntrack_dccp_timeout_request nf_conntrack_dccp_timeout_respond nf_conntrack_dccp_timeout_timewait
        nf_conntrack_events nf_conntrack_frag6_high_thresh nf_conntrack_frag6_low_thresh nf_conntrack_frag6_timeout
        nf_conntrack_generic_timeout nf_conntrack_gre_timeout nf_conntrack_gre_timeout_stream nf_conntrack_helper
        nf_conntrack_icmp_timeout nf_conntrack_icmpv6_timeout nf_conntrack_sctp_timeout_closed
        nf_conntrack_sctp_timeout_cookie_echoed nf_conntrack_sctp_timeout_cookie_wait
        nf_conntrack_sctp_timeout_established nf_conntrack_sctp_timeout_heartbeat_sent
        nf_conntrack_sctp_timeout_shutdown_ack_sent nf_conntrack_sctp_timeout_shutdown_recd
        nf_conntrack_sctp_timeout_shutdown_sent nf_conntrack_tcp_be_liberal nf_conntrack_tcp_ignore_invalid_rst
        nf_conntrack_tcp_loose nf_conntrack_tcp_max_retrans nf_conntrack_tcp_timeout_close
        nf_conntrack_tcp_timeout_close_wait nf_conntrack_tcp_timeout_established nf_conntrack_tcp_timeout_fin_wait
        nf_conntrack_tcp_timeout_last_ack nf_conntrack_tcp_timeout_max_retrans nf_conntrack_tcp_timeout_syn_recv
        nf_conntrack_tcp_timeout_syn_sent nf_conntrack_tcp_timeout_time_wait nf_conntrack_tcp_timeout_unacknowledged
        nf_conntrack_timestamp nf_conntrack_udp_timeout nf_conntrack_udp_timeout_stream nf_flowtable_tcp_timeout
        nf_flowtable_udp_timeout
    """,
    # net/netfilter/nf_log.c, nf_log_sysctl_table: a protocol family's logger, among those that are loaded
    "net.netfilter.nf_log": "0 1 2 3 4 5 6 7 8 9 10 11 12",
    # net/bridge/br_netfilter_hooks.c, brnf_table
    "net.bridge": """
        bridge-nf-call-arptables bridge-nf-call-ip6tables bridge-nf-call-iptables bridge-nf-filter-pppoe-tagged
        bridge-nf-filter-vlan-tagged bridge-nf-pass-vlan-input-dev
    """,
    # net/mpls/af_mpls.c, mpls_table
    "net.mpls": "default_ttl ip_ttl_propagate platform_labels",
    # net/mpls/af_mpls.c, mpls_dev_table
    "net.mpls.conf.*": "input",
    # net/sctp/sysctl.c, sctp_net_table
    "net.sctp": """
        addip_enable addip_noauth_enable addr_scope_policy association_max_retrans auth_enable cookie_hmac_alg
        cookie_preserve_enable default_auto_asconf ecn_enable encap_port hb_interval intl_enable l3mdev_accept
        max_autoclose max_burst max_init_retransmits path_max_retrans pf_enable pf_expose pf_retrans
        plpmtud_probe_interval prsctp_enable ps_retrans rcvbuf_policy reconf_enable rto_alpha_exp_divisor
        rto_beta_exp_divisor rto_initial rto_max rto_min rwnd_update_shift sack_timeout sndbuf_policy udp_port
        valid_cookie_life
    """,
    # net/smc/smc_sysctl.c, smc_table
    "net.smc": """
        autocorking_size limit_smc_hs rmem smcr_buf_type smcr_max_conns_per_lgr smcr_max_links_per_lgr
        smcr_testlink_time wmem
    """,
}

_OWNED = {folder: frozenset(names.split()) for folder, names in _KEYS.items()}

_REACH_THE_HOST = {
    "net.core.rps_default_mask":
        "each device made later adds to a static key of the whole machine, rps_needed, which is never reduced again "
        "(net/core/net-sysfs.c)",
    "net.ipv4.tcp_allowed_congestion_control":
        "one list for the whole machine, and writable in a namespace before Linux 5.13 (97684f0970f6)",
    "net.netfilter.nf_conntrack_max":
        "one limit for the whole machine, and writable in a namespace before Linux 5.13 (2671fa4dc010)",
    "net.netfilter.nf_conntrack_expect_max":
        "one limit for the whole machine, and writable in a namespace before Linux 5.13 (2671fa4dc010)",
    "net.netfilter.nf_conntrack_buckets":
        "one table for the whole machine, and writable in a namespace before Linux 5.13 (2671fa4dc010)",
    "net.netfilter.nf_conntrack_log_invalid":
        "it may load the module nf_log_syslog (e89a68046687)",
    "net.netfilter.nf_hooks_lwtunnel":
        "it permanently enables a static branch of the whole machine (net/netfilter/nf_hooks_lwtunnel.c)",
}  # fmt: skip
"""Keys in a namespace's tables that affect the whole machine, and how."""


def belongs_to_a_namespace(key: str) -> bool:
    """Whether writing this key in a network namespace is known to change nothing outside it."""
    folder, _, name = key.rpartition(".")
    above, _, interface = folder.rpartition(".")
    return name in _OWNED.get(folder, ()) or (bool(interface) and name in _OWNED.get(f"{above}.*", ()))


def why_not_written(key: str) -> str:
    """Why a key for which belongs_to_a_namespace() is False is not written, as the rest of a sentence."""
    return _REACH_THE_HOST.get(key, "it is not known to belong to a network namespace, so it might change the host")
