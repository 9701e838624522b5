# How machines are reached, for pyinfra and mailwright: what `vagrant ssh-config` says of each, and its host keys.

require "fileutils"

module Mailwright
  # Keeps the two files that the fleet file names in `defaults.ssh`: `config` and `known_hosts`.
  class Reach
    def initialize(fleet)
      @config = fleet.ssh_file("config")
      @known_hosts = fleet.ssh_file("known_hosts")
    end

    # Its host keys are asked for by the connection that Vagrant made, which it has just put its own key into.
    def note(machine)
      info = machine.ssh_info or return
      keys = ""
      machine.communicate.execute("cat /etc/ssh/ssh_host_*_key.pub") { |kind, data| keys << data if kind == :stdout }
      place = info[:port].to_i == 22 ? info[:host] : "[#{info[:host]}]:#{info[:port]}"
      lines = keys.lines.map { |line| "#{place} #{line.split.first(2).join(' ')} #{machine.name}\n" }
      change do
        put(@config, kept(@config, machine) << section(machine, info))
        put(@known_hosts, others(@known_hosts, machine, place).concat(lines))
      end
    end

    def forget(machine)
      change do
        put(@config, kept(@config, machine))
        put(@known_hosts, others(@known_hosts, machine))
      end
    end

    private

    # Machines may come up side by side, each in a process of its own.
    def change(&block)
      FileUtils.mkdir_p([File.dirname(@config), File.dirname(@known_hosts)])
      File.open("#{@config}.lock", "w") do |lock|
        lock.flock(File::LOCK_EX)
        block.call
      end
    end

    def section(machine, info)
      keys = info[:private_key_path].map { |path| "  IdentityFile \"#{path}\"\n" }
      <<~TEXT + keys.join
        Host #{machine.name}
          HostName #{info[:host]}
          Port #{info[:port]}
          User #{info[:username]}
          IdentitiesOnly yes
          PasswordAuthentication no
          UserKnownHostsFile "#{@known_hosts}"
          StrictHostKeyChecking yes
      TEXT
    end

    # The sections of other machines.
    def kept(file, machine)
      read(file).slice_before(/^Host /).map(&:join).reject { |text| text.start_with?("Host #{machine.name}\n") }
    end

    # The lines of other machines; an address that was another's belongs to this one now.
    def others(file, machine, place = nil)
      read(file).reject { |line| line.split.last == machine.name.to_s || line.split.first == place }
    end

    def read(file)
      File.exist?(file) ? File.readlines(file) : []
    end

    def put(file, parts)
      File.write("#{file}.new", parts.join)
      File.rename("#{file}.new", file)
    end
  end
end
