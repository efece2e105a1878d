package shop;

import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MetadataReportConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/** A Dubbo provider of {@link Orders} and, if wanted, {@link Payments}; the same source for Dubbo 2.7 and 3.2. */
public final class Provider {
    /** How long a registry may take that has just been started. */
    private static final int REGISTRY_MILLIS = 30_000;

    public static void main(String[] words) throws Exception {
        Settings settings = new Settings(words);
        String announced = settings.get("announce", "192.0.2.10");
        // Dubbo binds and announces what these say, and refuses loopback addresses in both; not a name for one.
        System.setProperty("DUBBO_IP_TO_REGISTRY", announced);
        System.setProperty("DUBBO_IP_TO_BIND", isOurs(announced) ? announced : "loop.test");

        ApplicationConfig application = new ApplicationConfig(settings.get("application", "shop"));
        application.setQosEnable(false);
        application.setMetadataType(settings.get("metadata", "local"));
        int port = Integer.parseInt(settings.get("port", "20880"));
        ProtocolConfig protocol = new ProtocolConfig(settings.get("protocol", "dubbo"), port);
        List<RegistryConfig> registries = registries(settings.get("registry", "N/A"), settings.get("mode", ""));
        DubboBootstrap bootstrap = DubboBootstrap.getInstance().application(application).protocol(protocol).registries(registries);
        if (application.getMetadataType().equals("remote")) {
            MetadataReportConfig report = new MetadataReportConfig(registries.get(0).getAddress());
            report.setTimeout(REGISTRY_MILLIS);
            bootstrap.metadataReport(report);
        }
        String reply = settings.get("reply", "done");
        for (String service : settings.get("services", "orders").split(",")) {
            switch (service) {
                case "orders" -> bootstrap.service(service(settings, Orders.class, order -> reply + " " + order));
                case "payments" -> bootstrap.service(service(settings, Payments.class, order -> reply + " " + order));
                default -> throw new IllegalArgumentException("services are orders and payments, not " + service);
            }
        }
        settings.end();
        bootstrap.start();
        System.out.println("READY " + protocol.getName() + "://" + announced + ":" + port);
        Thread.currentThread().join(); // until a signal: Dubbo's own hook then takes everything out of the registries
    }

    private static <T> ServiceConfig<T> service(Settings settings, Class<T> type, T answers) {
        ServiceConfig<T> service = new ServiceConfig<>();
        // Dubbo 2.7 takes two of one version and group for one that is said twice, unless they have names.
        service.setId(type.getName());
        service.setInterface(type);
        service.setRef(answers);
        service.setGroup(settings.get("group", null));
        service.setVersion(settings.get("version", null));
        String weight = settings.get("weight", null);
        if (weight != null) service.setWeight(Integer.valueOf(weight));
        Map<String, String> parameters = settings.pairs("parameters");
        if (!parameters.isEmpty()) service.setParameters(parameters);
        return service;
    }

    /** Addresses that are parted by commas. The mode is Dubbo 3's: all, interface or instance. */
    private static List<RegistryConfig> registries(String addresses, String mode) {
        List<RegistryConfig> registries = new ArrayList<>();
        for (String address : addresses.split(",")) {
            RegistryConfig registry = new RegistryConfig(address);
            registry.setTimeout(REGISTRY_MILLIS);
            if (!mode.isEmpty()) registry.setParameters(Map.of("register-mode", mode));
            registries.add(registry);
        }
        return registries;
    }

    private static boolean isOurs(String address) {
        try (ServerSocket socket = new ServerSocket()) {
            socket.bind(new InetSocketAddress(address, 0));
            return true;
        } catch (java.io.IOException refused) {
            return false;
        }
    }
}
