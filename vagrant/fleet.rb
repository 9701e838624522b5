# What the Vagrantfile takes from a fleet file. mailwright itself validates the file; here is looked at no more
# than what virtual machines need.

require "date"
require "ipaddr"
require "yaml"

module Mailwright
  # One line that says what is wrong with the fleet file, and no traceback.
  class FleetError < Vagrant::Errors::VagrantError
    def initialize(message)
      @message = message
      super
    end

    def error_message
      @message
    end
  end

  # One virtual machine. `memory` in MiB; `addresses` with their prefix lengths, IPv4 first.
  Machine = Struct.new(:name, :box, :memory, :cpus, :ipv4, :addresses, keyword_init: true) do
    # A locally administered address (IEEE 802) made of the fleet's, so that the machine knows the interface.
    def mac
      octets = IPAddr.new(addresses.first.split("/").first).hton.bytes.last(4)
      format("02:00:%02x:%02x:%02x:%02x", *octets)
    end
  end

  # A fleet file with a section `vagrant`.
  class Fleet
    attr_reader :file

    # Raises FleetError: the file is not there, is no YAML, or has no such section.
    def self.read(file)
      file = File.expand_path(file)
      new(file, YAML.safe_load(File.read(file), aliases: true, permitted_classes: [Date]))
    rescue SystemCallError, Psych::Exception => error
      raise FleetError, "#{file}: #{error.message}"
    end

    def initialize(file, data)
      @file = file
      @data = data.is_a?(Hash) ? data : {}
      @vagrant = @data["vagrant"]
      raise FleetError, "#{file}: this fleet has no section `vagrant`; see docs/vagrant.md" unless @vagrant.is_a?(Hash)
    end

    def name
      File.basename(@file, ".yaml")
    end

    def machines
      @data.fetch("machines").map { |machine| machine(machine) }
    rescue KeyError, NoMethodError, TypeError, IPAddr::Error => error
      raise FleetError, "#{@file}: #{error.message}; `mailwright plan #{@file}` says where"
    end

    # Of the private network, as 255.255.255.0.
    def netmask
      IPAddr.new("255.255.255.255").mask(prefix("ipv4")).to_s
    end

    # This computer's address on the private network where the provider gives it one: the first, as libvirt has it
    # for IPv4.
    def controller(family)
      IPAddr.new(@vagrant.fetch(family)).succ.to_s
    end

    def prefix(family)
      Integer(@vagrant.fetch(family).split("/").last)
    end

    # Where a file lies that `ssh` of the defaults names (`config`, `known_hosts`).
    def ssh_file(key)
      path = @data.dig("defaults", "ssh", key)
      raise FleetError, "#{@file}: defaults.ssh.#{key}: name a file; see docs/vagrant.md" unless path.is_a?(String)

      File.expand_path(path, File.dirname(@file))
    end

    private

    def machine(said)
      release = said["debian"] || @data.dig("defaults", "debian") || 13
      Machine.new(
        name: said.fetch("name"),
        box: @vagrant.fetch("boxes").fetch("debian-#{release}"),
        memory: said["memory"] || @vagrant.fetch("memory"),
        cpus: @vagrant.fetch("cpus"),
        ipv4: said.fetch("ipv4"),
        addresses: %w[ipv4 ipv6].filter_map { |family| "#{said[family]}/#{prefix(family)}" if said[family] },
      )
    end
  end
end
